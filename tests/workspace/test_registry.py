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


INVENTORY = """[tool.starkeel]
port = 3002
admin_port = 9092
paths = ["/api/stock"]
needs = ["database", "tokens"]
calls = ["orders"]
"""


def test_a_service_is_added_everywhere_and_removed_without_a_trace(workspace: Path) -> None:
    before = {name: (workspace / name).read_text() for name in FILES}
    register(workspace, "inventory", INVENTORY)

    assert generate(workspace, "--check").returncode == 1
    assert generate(workspace).returncode == 0

    compose = yaml.safe_load((workspace / "deploy/compose.yaml").read_text())
    added = compose["services"]["inventory"]
    assert added["depends_on"] == {
        name: {"condition": "service_healthy"} for name in ("postgres", "accounts", "orders")
    }
    assert added["environment"]["ORDERS_URL"] == "http://orders:3000"
    assert added["environment"]["JWT_JWKS_URL"] == "http://accounts:3000/.well-known/jwks.json"
    assert "REDIS_URL_FILE" not in added["environment"]
    assert "inventory" in compose["services"]["proxy"]["depends_on"]
    assert {"inventory-database-url", "inventory-database-password"} < set(compose["secrets"])
    assert "inventory-database-password" in compose["services"]["postgres"]["secrets"]
    assert "use_backend inventory if { path -m reg ^/(api/stock)(/|$) }" in (
        (workspace / "deploy/proxy/plain.cfg").read_text()
    )
    project = tomllib.loads((workspace / "pyproject.toml").read_text())
    assert "inventory" in project["tool"]["importlinter"]["root_packages"]
    assert project["tool"]["uv"]["sources"]["inventory"] == {"workspace": True}
    jobs = yaml.safe_load((workspace / ".github/workflows/images.yml").read_text())["jobs"].values()
    matrices = [job["strategy"]["matrix"]["service"] for job in jobs if "strategy" in job]
    assert matrices == [["accounts", "orders", "inventory"]] * 3
    assert generate(workspace, "--check").returncode == 0

    shutil.rmtree(workspace / "services" / "inventory")
    assert generate(workspace).returncode == 0
    assert {name: (workspace / name).read_text() for name in FILES} == before


def test_what_a_team_writes_outside_of_the_generated_parts_is_kept(workspace: Path) -> None:
    compose = workspace / "deploy/compose.yaml"
    compose.write_text(
        compose.read_text().replace("\n  proxy: &proxy", "\n  mailpit: {image: mailpit}\n\n  proxy: &proxy")
    )
    register(workspace, "inventory", INVENTORY)

    assert generate(workspace).returncode == 0

    assert {"mailpit", "inventory"} < set(yaml.safe_load(compose.read_text())["services"])


@pytest.mark.parametrize(
    ("name", "entry", "message"),
    [
        ("inventory", "", "services/inventory/pyproject.toml: has no [tool.starkeel]: add `port`"),
        ("inventory", "[tool", "services/inventory/pyproject.toml: is not valid TOML"),
        ("inventory", "[tool.starkeel]\nport = 3002", "missing required field `admin_port`"),
        ("inventory", INVENTORY.replace("3002", "80"), "Expected `int` >= 1024 - at `$.port`"),
        ("inventory", INVENTORY + "color = 1", "contains unknown field `color`"),
        ("inventory", INVENTORY.replace("3002", "3000"), "port 3000 is that of accounts: choose"),
        ("inventory", INVENTORY.replace("orders", "billing"), "there is no service 'billing'; services:"),
        ("inventory", INVENTORY.replace("orders", "inventory"), "a service cannot call itself"),
        ("inventory", INVENTORY.replace("stock", "orders/x"), "/api/orders/x overlaps with /api/orders"),
        ("inventory", INVENTORY.replace("/api/stock", "api"), "Expected `str` matching regex"),
        ("inventory", INVENTORY.replace('"tokens"', '"signing key"'), "only one can issue tokens"),
        ("inventory", INVENTORY + "[tool.starkeel.clients.accounts]", "'accounts' is not in `calls`: add it"),
        ("Inventory", INVENTORY, "'Inventory' cannot name a service"),
        ("class", INVENTORY, "'class' cannot name a service"),
        ("i" * 60, INVENTORY, "cannot name a service: use up to 31 lower-case letters"),
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
