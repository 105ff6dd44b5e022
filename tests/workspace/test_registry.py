"""The registry of services, and what is generated from it."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from tools.generate.regions import FILES
from tools.registry import ROOT, RegistryError, read, upstreams
from tools.workspace import fleet


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """Return a copy of the files that the registry concerns."""
    for path in [*map(ROOT.joinpath, FILES), *ROOT.glob("services/*/pyproject.toml")]:
        copy = tmp_path / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    return tmp_path


def register(workspace: Path, name: str, entry: str) -> None:
    """Add a service, or replace the entry of one."""
    file = workspace / "services" / name / "pyproject.toml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f'[project]\nname = "{name}"\n\n{entry}\n')


def generate(workspace: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tools.generate", "fleet", "--root", str(workspace), *options],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


NEW = "stock_levels"
NAMES = [service.name for service in read()]
FIRST, LAST = NAMES[0], NAMES[-1]
ISSUERS = [service.name for service in read() if "signing key" in service.needs]
PORTS = [port for service in read() for port in (service.port, service.admin_port)]
ENTRY = f"""[tool.starkeel]
port = {max(PORTS) + 1}
admin_port = {max(PORTS) + 2}
paths = ["/api/stock-levels"]
needs = ["database"]
calls = ["{LAST}"]
"""


def test_a_service_is_added_everywhere_and_removed_without_a_trace(workspace: Path) -> None:
    before = {name: (workspace / name).read_text() for name in FILES}
    verifies = ENTRY.replace('"database"', '"database", "tokens"') if ISSUERS else ENTRY
    register(workspace, NEW, verifies)

    assert generate(workspace, "--check").returncode == 1
    assert generate(workspace).returncode == 0

    compose = yaml.safe_load((workspace / "deploy/compose.yaml").read_text())
    added = compose["services"][NEW]
    assert added["depends_on"] == {
        "databases": {"condition": "service_completed_successfully"},
        **{name: {"condition": "service_healthy"} for name in (LAST, *ISSUERS)},
    }
    assert added["environment"][f"{LAST.upper()}_URL"] == f"http://{LAST}:3000"
    for issuing in ISSUERS:
        assert added["environment"]["JWT_JWKS_URL"] == f"http://{issuing}:3000/.well-known/jwks.json"
    assert "REDIS_URL_FILE" not in added["environment"]
    assert NEW in added["environment"]["ALLOWED_HOSTS"].split(",")
    assert NEW in compose["services"]["proxy"]["depends_on"]
    assert {f"{NEW}-database-url", f"{NEW}-database-password"} < set(compose["secrets"])
    assert f"{NEW}-database-password" in compose["services"]["databases"]["secrets"]
    assert f"use_backend {NEW} if {{ path -m reg ^/(api/stock-levels)(/|$) }}" in (
        (workspace / "deploy/proxy/plain.cfg").read_text()
    )
    project = tomllib.loads((workspace / "pyproject.toml").read_text())
    assert NEW in project["tool"]["importlinter"]["root_packages"]
    assert NEW in project["tool"]["pytest"]["ini_options"]["starkeel_leak_check"]
    assert project["tool"]["uv"]["sources"][NEW] == {"workspace": True}
    jobs = yaml.safe_load((workspace / ".github/workflows/images.yml").read_text())["jobs"].values()
    matrices = [job["strategy"]["matrix"]["service"] for job in jobs if "strategy" in job]
    assert matrices == [[*NAMES, NEW]] * 3
    assert generate(workspace, "--check").returncode == 0

    shutil.rmtree(workspace / "services" / NEW)
    assert generate(workspace).returncode == 0
    assert {name: (workspace / name).read_text() for name in FILES} == before


def test_the_layers_of_a_service_become_contracts(workspace: Path) -> None:
    register(workspace, NEW, f'{ENTRY}[tool.starkeel.layers]\n{NEW} = ["app", "settings | schemas"]\n')

    assert generate(workspace).returncode == 0

    contracts = tomllib.loads((workspace / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    [contract] = [each for each in contracts if each.get("containers") == [NEW]]
    assert contract["layers"] == ["app", "settings | schemas"]
    assert contract["exhaustive"] is True


def test_what_a_team_writes_outside_of_the_generated_parts_is_kept(workspace: Path) -> None:
    compose = workspace / "deploy/compose.yaml"
    compose.write_text(
        compose.read_text().replace("\n  proxy: &proxy", "\n  mailpit: {image: mailpit}\n\n  proxy: &proxy")
    )
    register(workspace, NEW, ENTRY)

    assert generate(workspace).returncode == 0

    assert {"mailpit", NEW} < set(yaml.safe_load(compose.read_text())["services"])


@pytest.mark.parametrize(
    ("name", "entry", "message"),
    [
        (NEW, "", f"services/{NEW}/pyproject.toml: has no [tool.starkeel]: add `port`"),
        (NEW, "[tool", f"services/{NEW}/pyproject.toml: is not valid TOML"),
        (NEW, "[tool.starkeel]\nport = 3002", "missing required field `admin_port`"),
        (NEW, ENTRY.replace(f"port = {max(PORTS) + 1}", "port = 80"), "Expected `int` >= 1024 - at `$.port`"),
        (NEW, ENTRY + "color = 1", "contains unknown field `color`; fields: docs/fleet.md"),
        (NEW, ENTRY.replace(str(max(PORTS) + 1), str(PORTS[0])), f"port {PORTS[0]} is that of {FIRST}:"),
        (NEW, ENTRY.replace(f'"{LAST}"', '"billing"'), "there is no service 'billing'; services:"),
        (NEW, ENTRY.replace(f'"{LAST}"', f'"{NEW}"'), "a service cannot call itself"),
        (NEW, ENTRY.replace("/api/stock-levels", "api"), "Expected `str` matching regex"),
        (NEW, ENTRY + "[tool.starkeel.clients.billing]", "'billing' is not in `calls`: add it"),
        (NEW, ENTRY + '[tool.starkeel.layers]\nother = ["app"]', "'other' is not 'stock_levels' or"),
        ("Inventory", ENTRY, "'Inventory' cannot name a service"),
        ("class", ENTRY, "'class' cannot name a service"),
        ("i" * 60, ENTRY, "cannot name a service: use up to 31 lower-case letters"),
    ],
)  # fmt: skip
def test_a_contradiction_is_refused_and_nothing_is_written(
    workspace: Path, name: str, entry: str, message: str
) -> None:
    before = {file: (workspace / file).read_text() for file in FILES}
    register(workspace, name, entry)

    done = generate(workspace)

    assert done.returncode == os.EX_CONFIG
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert {file: (workspace / file).read_text() for file in FILES} == before


def test_entries_that_contradict_those_of_others_are_refused(workspace: Path) -> None:
    public = [(service.name, path) for service in read() for path in service.paths]
    for name, path in public:
        register(workspace, NEW, ENTRY.replace("/api/stock-levels", f"{path}/x"))
        assert f"{path}/x overlaps with {path} of {name}" in generate(workspace).stderr
    for _ in ISSUERS:
        register(workspace, NEW, ENTRY.replace('"database"', '"signing key"'))
        assert "only one can issue tokens" in generate(workspace).stderr
    assert public


def test_a_part_that_nothing_generates_is_refused(workspace: Path) -> None:
    file = workspace / "deploy/proxy/common.cfg"
    file.write_text(file.read_text().replace("registry: backends", "registry: backend"))

    done = generate(workspace)

    assert done.returncode == os.EX_CONFIG
    assert "deploy/proxy/common.cfg: nothing generates 'backend'; known: " in done.stderr


def test_ports_are_those_of_the_registry_whatever_the_order_of_the_names() -> None:
    assert [(member.name, member.port, member.metrics_port) for member in fleet()] == [
        (service.name, service.port, service.admin_port) for service in read()
    ]
    assert [member.port for member in fleet(port=4100)] == [service.port + 1100 for service in read()]


def test_a_service_that_verifies_tokens_depends_on_their_issuer() -> None:
    services = read()
    issuing = [service.name for service in services if "signing key" in service.needs]

    for service in services:
        if "tokens" in service.needs:
            assert set(issuing) <= set(upstreams(service, services))


def test_an_unreadable_registry_is_reported(tmp_path: Path) -> None:
    (tmp_path / "services/inventory").mkdir(parents=True)
    (tmp_path / "services/inventory/pyproject.toml").write_bytes(b"\xff")

    with pytest.raises(RegistryError, match="is not valid TOML"):
        read(tmp_path)
