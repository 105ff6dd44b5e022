"""The compose file, started: the fleet, what it stands on, and what can be had of the rest."""

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

from ...support.certificates import Authority
from .conftest import ROOT, told
from .docker import Docker
from .fake_images import compose_program, provide
from .load_old import Load

HAD = ("accounts", "orders", "postgres", "redis", "proxy", "prometheus", "alertmanager")
REQUESTS = 1500


@dataclass(frozen=True)
class Stack:
    """A running stack."""

    docker: Docker
    program: list[str]
    environ: Mapping[str, str]

    @property
    def url(self) -> str:
        """Where its proxy is."""
        return f"http://{self.environ['HTTP_PORT']}"

    def __call__(self, *arguments: str, timeout_s: float = 180) -> str:
        """Run Docker Compose on it and return what it printed."""
        command = [*self.program, "--file", str(ROOT / "deploy/compose.yaml"), *arguments]
        done = subprocess.run(
            command, env=self.environ, capture_output=True, text=True, timeout=timeout_s, check=False
        )
        assert done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def containers(self, service: str | None = None) -> list[dict[str, Any]]:
        """Return what the engine knows of the containers, of one service or all."""
        found = self(
            "--profile", "dev", "--profile", "prod", "ps", "--quiet", *([service] if service else [])
        )
        return [self.docker.inspect(name) for name in found.split()]

    def prometheus(self, query: str) -> list[dict[str, Any]]:
        """Ask the Prometheus of the stack."""
        (container,) = self.containers("prometheus")
        where = ("http://127.0.0.1:9090", query)
        found = self.docker.tried(
            "exec", container["Id"], "promtool", "query", "instant", "-o", "json", *where
        )
        answer: list[dict[str, Any]] = json.loads(found.stdout) if found.returncode == 0 else []
        return answer


@pytest.fixture(scope="module")
def stack(
    docker: Docker, images: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    """The stack of profile dev, up and healthy."""
    provide(docker, "haproxy", "prometheus", "alertmanager")
    folder = tmp_path_factory.mktemp("secrets")
    subprocess.run([sys.executable, ROOT / "deploy/make_secrets.py", folder], check=True)
    authority = Authority(folder)
    certificate, key = authority.issue("api.example.com")
    both = folder / "certificate.pem"
    both.write_text(certificate.read_text() + key.read_text())
    both.chmod(0o644)
    registry, _, version = images["orders"].partition("/orders:")
    one = Stack(
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
            "SERVICES_SUBNET": f"10.214.{secrets.randbelow(256)}.0/24",
        },
    )
    try:
        one("--profile", "dev", "up", "--detach", "--no-build", "--wait", *HAD, timeout_s=300)
        yield one
    finally:
        one("--profile", "dev", "--profile", "prod", "down", "--volumes", "--timeout", "5")


@pytest.fixture(scope="module")
def token(stack: Stack) -> str:
    """An access token, got through the proxy."""
    person = {"email": "alan@example.com", "password": "seven quiet lighthouses"}
    with httpx2.Client(base_url=stack.url, timeout=30, trust_env=False) as client:
        signed_up = client.post("/api/users", json=person)
        assert signed_up.status_code == 201, signed_up.text
        answer = client.post("/api/auth/token", json=person)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["access_token"])


def test_a_user_s_first_steps_work_through_the_proxy(stack: Stack) -> None:
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
def test_what_is_not_public_is_not_reached_from_outside(stack: Stack, path: str) -> None:
    answer = httpx2.get(f"{stack.url}{path}", timeout=30, trust_env=False)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


def test_only_the_proxy_has_ports_and_every_container_is_hardened(stack: Stack) -> None:
    containers = stack.containers()
    names = [one["Config"]["Labels"]["com.docker.compose.service"] for one in containers]
    assert sorted(names) == sorted([*HAD, "orders"])
    for name, one in zip(names, containers, strict=True):
        host = one["HostConfig"]
        assert bool(host["PortBindings"]) is (name == "proxy"), name
        assert host["ReadonlyRootfs"], name
        assert host["CapDrop"] == ["ALL"], name
        assert not host["CapAdd"], name
        assert "no-new-privileges:true" in host["SecurityOpt"], name
        assert host["Memory"] > 0, name
        assert host["NanoCpus"] > 0, name
        assert host["PidsLimit"] > 0, name
        assert host["LogConfig"]["Config"].keys() == {"max-size", "max-file"}, name
        assert one["Config"]["User"].split(":")[0] not in {"", "0", "root"}, name
        secret = [value for value in one["Config"]["Env"] if "PASSWORD=" in value or "postgresql://" in value]
        assert secret == [], name


def test_orders_cannot_reach_outside_and_the_proxy_no_database(stack: Stack) -> None:
    (proxy,) = stack.containers("proxy")
    networks = {name.split("_")[-1] for name in proxy["NetworkSettings"]["Networks"]}
    assert networks == {"outside", "services", "telemetry"}
    orders = stack.containers("orders")[0]
    for name in orders["NetworkSettings"]["Networks"]:
        assert stack.docker.inspect(name)["Internal"] is True


def test_prometheus_finds_every_replica_and_the_proxy(stack: Stack) -> None:
    expected = Counter(accounts=1, orders=2, proxy=1)

    def up() -> Counter[str]:
        found = stack.prometheus('up{job="services"} == 1')
        proxies = stack.prometheus('up{job="proxy"} == 1')
        return Counter([one["metric"]["service"] for one in found] + ["proxy"] * len(proxies))

    wait_until(lambda: up() == expected, timeout_s=90, what=lambda: str(stack.prometheus("up")))
    assert up() == expected


def test_rolling_a_service_under_load_drops_nothing(
    stack: Stack, token: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {one["Id"] for one in stack.containers("orders")}
    load = Load(
        stack.url,
        "/api/orders?limit=1",
        {"Authorization": f"Bearer {token}"},
        asks_readiness=False,
    )
    load.wait_for(REQUESTS // 2)
    rolled = subprocess.run(
        [sys.executable, ROOT / "deploy/roll.py", "orders", "--compose", " ".join(stack.program)],
        env=dict(stack.environ) | {"PATH": f"/usr/bin:{stack.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    load.wait_for(REQUESTS // 2)
    load.finish()
    told(capsys, f"just roll orders under load: {load.summary}")
    assert rolled.returncode == 0, rolled.stdout + rolled.stderr
    assert load.failures == []
    assert load.answered >= REQUESTS
    after = {one["Id"] for one in stack.containers("orders")}
    assert len(after) == len(before) == 2
    assert not after & before


def test_the_proxy_speaks_tls_with_the_mounted_certificate(stack: Stack, token: str) -> None:
    environ = dict(stack.environ) | {
        "HTTP_PORT": _free_address(),
        "HTTPS_PORT": _free_address(),
        "GRAFANA_PORT": _free_address().rpartition(":")[2],
    }
    secure = Stack(stack.docker, stack.program, environ)
    secure("--profile", "prod", "up", "--detach", "--no-build", "--no-deps", "--wait", "proxy-tls")
    folder = Path(stack.environ["SECRETS_DIR"])
    trusting = ssl.create_default_context(cafile=folder / "authority.pem")
    trusting.minimum_version = ssl.TLSVersion.TLSv1_2
    with httpx2.Client(verify=trusting, timeout=30, trust_env=False) as client:
        url = f"https://{environ['HTTPS_PORT']}/api/orders"
        answer = client.get(url, headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 200
        assert answer.headers["strict-transport-security"] == "max-age=63072000"
        assert client.get(f"https://{environ['HTTPS_PORT']}/health/live").status_code == 404
        moved = client.get(f"{secure.url}/api/orders")
        assert moved.status_code == 308
        assert moved.headers["location"].startswith("https://")
    with pytest.raises(httpx2.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        httpx2.get(url, verify=ssl.create_default_context(), trust_env=False)


def _free_address() -> str:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{one.getsockname()[1]}"
