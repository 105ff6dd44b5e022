"""The check that the registry agrees with the routes and settings of each service."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tools.registry import ROOT, issuer, read

SERVICES = read()


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """Return a copy of the registry; the services' code is that of this workspace."""
    for service in SERVICES:
        path = Path("services") / service.name / "pyproject.toml"
        (tmp_path / path).parent.mkdir(parents=True)
        shutil.copy(ROOT / path, tmp_path / path)
    return tmp_path


def check(workspace: Path) -> tuple[int, str]:
    command = [sys.executable, "-m", "tools.checks.declarations", "--root", str(workspace)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stderr


def declare(workspace: Path, name: str, field: str, value: str) -> None:
    """Set a field of a service's entry."""
    file = workspace / "services" / name / "pyproject.toml"
    without = re.sub(rf"(?ms)^{field} = (\[.*?\]|[^\n\[]*)\n", "", file.read_text(), count=1)
    file.write_text(without.replace("[tool.starkeel]\n", f"[tool.starkeel]\n{field} = {value}\n"))


def test_this_workspace_agrees() -> None:
    assert check(ROOT) == (0, "")


def test_what_only_the_registry_or_only_the_code_has_is_reported(workspace: Path) -> None:
    expected = []
    for service in SERVICES:
        others = {other.name for other in SERVICES} - {service.name, *service.calls}
        # Without a database there can be neither a worker nor a broker.
        needs = [need for need in service.needs if need not in {"database", "worker", "broker"}]
        declare(workspace, service.name, "needs", str(needs))
        declare(workspace, service.name, "calls", str([*service.calls, *sorted(others)]))
        declare(workspace, service.name, "scopes", f'["{service.name}:unused"]')
        found = [f"calls: `{other}` without the setting {other.upper()}_URL" for other in others]
        if "database" in service.needs:
            found.append("needs: the service has the setting DATABASE_URL: add `database`")
        if "broker" in service.needs:
            found.append("needs: the service has the setting BROKER_URL: add `broker`")
        found += [f"scopes: a route requires {scope!r}, which no service owns" for scope in service.scopes]
        if service is not issuer(SERVICES):
            found.append(f"scopes: no route requires '{service.name}:unused': remove it")
        expected += [f"services/{service.name}/pyproject.toml: [tool.starkeel]: {each}" for each in found]

    code, output = check(workspace)

    assert code == 1, output
    reported = sorted(output.splitlines())
    assert len(reported) == len(expected)
    for line, start in zip(reported, sorted(expected), strict=True):
        assert line.startswith(start)


def test_a_call_that_only_the_code_has_is_reported(workspace: Path) -> None:
    calls = [(service.name, called) for service in SERVICES for called in service.calls]
    for caller, _ in calls:
        declare(workspace, caller, "calls", "[]")
        file = workspace / "services" / caller / "pyproject.toml"
        file.write_text(file.read_text().partition("[tool.starkeel.clients")[0])

    code, output = check(workspace)

    assert code == (1 if calls else 0)
    for caller, called in calls:
        where = f"services/{caller}/pyproject.toml: [tool.starkeel]: calls"
        assert f"{where}: the service has the setting {called.upper()}_URL: add `{called}`\n" in output


def test_the_service_that_grants_scopes_may_own_those_of_others(workspace: Path) -> None:
    issuing = issuer(SERVICES)
    assert issuing is not None
    declare(workspace, issuing.name, "scopes", '["warehouse:read"]')

    assert check(workspace) == (0, "")


def test_a_service_that_is_not_installed_is_reported(workspace: Path) -> None:
    file = workspace / "services/warehouse/pyproject.toml"
    file.parent.mkdir()
    file.write_text("[tool.starkeel]\nport = 3900\nadmin_port = 9990\n")

    code, output = check(workspace)

    assert code == os.EX_CONFIG
    assert output.startswith("services/warehouse: its package has no `SERVICE`, or is not installed: run `uv")
    assert output.count("\n") == 1
