"""The compose file, started with every service for which there is an image."""

import json
import secrets
import socket
import ssl
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starkeel_testing import wait_until

from tools.registry import read
from tools.workspace import service_names

from ...support.accounts import sign_in
from ...support.certificates import Authority
from ...support.load import Load
from ...support.report import report
from .conftest import ROOT
from .docker import Docker
from .fake_images import compose_program, provide

NEEDED_SERVICES = ("accounts", "orders")

WORKERS = tuple(service.worker for service in read() if service.has_worker)
BROKERS = ("broker",) if any("broker" in service.needs for service in read()) else ()
STARTED = (
    *(*service_names(), *WORKERS, *BROKERS),
    *("postgres", "redis", "proxy", "prometheus", "alertmanager"),
)
REQUESTS = 1500


@dataclass(frozen=True)
class Stack:
    """A running compose project."""

    docker: Docker
    program: list[str]
    environ: Mapping[str, str]

    @property
    def url(self) -> str:
        """URL of its proxy."""
        return f"http://{self.environ['HTTP_PORT']}"

    def __call__(self, *arguments: str, timeout_s: float = 180) -> str:
        """Run Docker Compose on it and return the output."""
        command = [*self.program, "--file", str(ROOT / "deploy/compose.yaml"), *arguments]
        done = subprocess.run(
            command, env=self.environ, capture_output=True, text=True, timeout=timeout_s, check=False
        )
        assert done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def containers(self, service: str | None = None) -> list[dict[str, Any]]:
        """Return the details of the containers, of a service or of all."""
        found = self(
            "--profile", "dev", "--profile", "prod", "ps", "--quiet", *([service] if service else [])
        )
        return [self.docker.inspect(name) for name in found.split()]

    def prometheus(self, query: str) -> list[dict[str, Any]]:
        """Return the result of a query, empty if it fails."""
        (container,) = self.containers("prometheus")
        target = ("http://127.0.0.1:9090", query)
        found = self.docker.tried(
            "exec", container["Id"], "promtool", "query", "instant", "-o", "json", *target
        )
        result: list[dict[str, Any]] = json.loads(found.stdout) if found.returncode == 0 else []
        return result


@pytest.fixture(scope="module")
def stack(
    docker: Docker, images: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    """The profile dev, healthy."""
    provide(docker, "haproxy", "prometheus", "alertmanager")
    folder = tmp_path_factory.mktemp("secrets")
    subprocess.run([sys.executable, ROOT / "deploy/make_secrets.py", folder], check=True)
    authority = Authority(folder)
    certificate, key = authority.issue("api.example.com")
    both = folder / "certificate.pem"
    both.write_text(certificate.read_text() + key.read_text())
    both.chmod(0o644)
    registry, _, version = images["orders"].partition("/orders:")
    subnet = secrets.randbelow(256)
    running_stack = Stack(
        docker,
        compose_program(docker),
        docker.environ
        | {
            "COMPOSE_PROJECT_NAME": f"starkeel-test-{secrets.token_hex(3)}",
            "SECRETS_DIR": str(folder),
            "CERTIFICATE_FILE": str(both),
            "REGISTRY": registry,
            "VERSION": version,
            "HTTP_PORT": _free_address(),
            "GRAFANA_PORT": _free_address().rpartition(":")[2],
            "SERVICES_SUBNET": f"10.214.{subnet}.0/24",
            "PROXY_ADDRESS": f"10.214.{subnet}.250",
            "RATE_LIMIT_ORDER_READING": "10000/second",
        },
    )
    try:
        running_stack("--profile", "dev", "up", "--detach", "--no-build", "--wait", *STARTED, timeout_s=300)
        yield running_stack
    finally:
        running_stack("--profile", "dev", "--profile", "prod", "down", "--volumes", "--timeout", "5")


@pytest.fixture(scope="module")
def caller(stack: Stack) -> dict[str, str]:
    """Authorization header of a user registered through the proxy."""
    with httpx2.Client(base_url=stack.url, timeout=30, trust_env=False) as client:
        return sign_in(client)


def test_the_smoke_test_passes(stack: Stack) -> None:
    smoke = subprocess.run(
        ["bash", ROOT / "deploy/smoke.sh", stack.url],
        env=stack.environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert smoke.returncode == 0, smoke.stdout + smoke.stderr
    assert '"status":"cancelled"' in smoke.stdout


@pytest.mark.parametrize(
    "path", ["/health/live", "/health/ready", "/schema", "/metrics", "/", "/api/ordersx"]
)
def test_the_proxy_hides_private_paths(stack: Stack, path: str) -> None:
    response = httpx2.get(f"{stack.url}{path}", timeout=30, trust_env=False)
    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"


def test_only_the_proxy_has_ports_and_every_container_is_hardened(stack: Stack) -> None:
    containers = stack.containers()
    names = [container["Config"]["Labels"]["com.docker.compose.service"] for container in containers]
    further = [service.name for service in read() for _ in range(service.replicas - 1)]
    further += [each.worker for each in read() if each.has_worker for _ in range(each.worker_replicas - 1)]
    assert sorted(names) == sorted([*STARTED, *further])
    for name, container in zip(names, containers, strict=True):
        host = container["HostConfig"]
        assert bool(host["PortBindings"]) is (name == "proxy"), name
        assert host["ReadonlyRootfs"], name
        assert host["CapDrop"] == ["ALL"], name
        assert not host["CapAdd"], name
        assert "no-new-privileges:true" in host["SecurityOpt"], name
        assert host["Memory"] > 0, name
        assert host["NanoCpus"] > 0, name
        assert host["PidsLimit"] > 0, name
        assert host["LogConfig"]["Config"].keys() == {"max-size", "max-file"}, name
        assert container["Config"]["User"].split(":")[0] not in {"", "0", "root"}, name
        env = container["Config"]["Env"]
        secret = [value for value in env if "PASSWORD=" in value or "postgresql://" in value]
        assert secret == [], name


def test_networks_are_isolated(stack: Stack) -> None:
    (proxy,) = stack.containers("proxy")
    networks = {name.split("_")[-1] for name in proxy["NetworkSettings"]["Networks"]}
    assert networks == {"outside", "services", "telemetry"}
    orders = stack.containers("orders")[0]
    for name in orders["NetworkSettings"]["Networks"]:
        assert stack.docker.inspect(name)["Internal"] is True


def test_prometheus_discovers_every_replica_and_the_proxy(stack: Stack) -> None:
    expected = Counter({service.name: service.replicas for service in read()} | {"proxy": 1})

    def up() -> Counter[str]:
        found = stack.prometheus('up{job="services"} == 1')
        proxies = stack.prometheus('up{job="proxy"} == 1')
        return Counter([series["metric"]["service"] for series in found] + ["proxy"] * len(proxies))

    wait_until(lambda: up() == expected, timeout_s=90, what=lambda: str(stack.prometheus("up")))
    assert up() == expected


def test_a_rolling_update_under_load_fails_no_request(
    stack: Stack, caller: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    before = {container["Id"] for container in stack.containers("orders")}
    load = Load(stack.url, "/api/orders?limit=1", caller, ready=None).start()
    load.wait_for_responses(REQUESTS // 2)
    rolled = subprocess.run(
        [sys.executable, ROOT / "deploy/roll.py", "orders", "--compose", " ".join(stack.program)],
        env=dict(stack.environ) | {"PATH": f"/usr/bin:{stack.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    load.wait_for_responses(REQUESTS // 2)
    load.finish()
    report(capsys, "just roll orders under load", load.summary)
    assert rolled.returncode == 0, rolled.stdout + rolled.stderr
    assert load.failures == []
    assert load.answered >= REQUESTS
    after = {container["Id"] for container in stack.containers("orders")}
    assert len(after) == len(before) == 2
    assert not after & before


def test_a_later_service_gets_its_database_while_postgresql_keeps_running(
    stack: Stack, tmp_path: Path
) -> None:
    (postgres,) = stack.containers("postgres")
    # What registration of a service adds to the generated parts of the file.
    secret = Path(stack.environ["SECRETS_DIR"]) / "inventory-database-password"
    secret.write_text("of inventory")
    secret.chmod(0o644)
    added = {
        "services": {"databases": {"secrets": [secret.name]}},
        "secrets": {secret.name: {"file": str(secret)}},
    }
    override = tmp_path / "override.yaml"
    override.write_text(json.dumps(added))

    stack("--file", str(override), "up", "--detach", "--no-build", "--wait", "orders")

    query = ("psql", "-h", "127.0.0.1", "-U", "inventory", "-Atc", "SELECT current_database()", "inventory")
    password = ("--env", "PGPASSWORD=of inventory")
    assert stack.docker("exec", *password, postgres["Id"], *query) == "inventory"
    assert [container["Id"] for container in stack.containers("postgres")] == [postgres["Id"]]


def test_the_proxy_terminates_tls_with_the_mounted_certificate(stack: Stack, caller: dict[str, str]) -> None:
    environ = dict(stack.environ) | {
        "HTTP_PORT": _free_address(),
        "HTTPS_PORT": _free_address(),
        "GRAFANA_PORT": _free_address().rpartition(":")[2],
        # The proxy without TLS, which is in its place in development, still has the address.
        "PROXY_ADDRESS": stack.environ["PROXY_ADDRESS"].replace(".250", ".251"),
    }
    secure = Stack(stack.docker, stack.program, environ)
    secure("--profile", "prod", "up", "--detach", "--no-build", "--no-deps", "--wait", "proxy-tls")
    folder = Path(stack.environ["SECRETS_DIR"])
    trusting = ssl.create_default_context(cafile=folder / "authority.pem")
    trusting.minimum_version = ssl.TLSVersion.TLSv1_2
    with httpx2.Client(verify=trusting, timeout=30, trust_env=False) as client:
        url = f"https://{environ['HTTPS_PORT']}/api/orders"
        response = client.get(url, headers=caller)
        assert response.status_code == 200
        assert response.headers["strict-transport-security"] == "max-age=63072000"
        assert client.get(f"https://{environ['HTTPS_PORT']}/health/live").status_code == 404
        moved = client.get(f"{secure.url}/api/orders")
        assert moved.status_code == 308
        assert moved.headers["location"].startswith("https://")
    with pytest.raises(httpx2.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        httpx2.get(url, verify=ssl.create_default_context(), trust_env=False)


def _free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"
