"""Containers of orders and accounts: the tour, a stop under load, and the metrics of requests."""

import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import httpx2
import pytest
from starkeel_testing import wait_until

from ...support.load import Load
from ...support.report import report
from .conftest import ROOT
from .container_fleet import Container, Fleet

NEEDED_SERVICES = ("accounts", "orders")

REQUESTS = 1500
NO_LIMIT = {"RATE_LIMIT_ORDER_READING": "10000/second"}


@pytest.fixture(scope="module")
def orders(ready: Callable[[str], Container]) -> Container:
    return ready("orders")


def test_the_tour_of_the_readme_works(accounts: Container, orders: Container, tmp_path: Path) -> None:
    logs = tmp_path / ".data/logs"
    logs.mkdir(parents=True)
    places = {"ACCOUNTS": accounts.url(), "ORDERS": orders.url(), "ORDERS_ADMIN": orders.url(9090)}
    with ExitStack() as stack:
        for name, container in {"accounts": accounts, "orders": orders}.items():
            file = stack.enter_context((logs / f"{name}.log").open("w"))
            follow = subprocess.Popen(
                ["docker", "logs", "--follow", container.name], stdout=file, env=container.docker.environ
            )
            stack.callback(follow.wait)
            stack.callback(follow.kill)
        steps = (ROOT / "tools/tour.sh").read_text("utf-8")
        toured = subprocess.run(
            ["sh", "-euc", steps],
            cwd=tmp_path,
            env=places | {"PATH": accounts.docker.environ["PATH"]},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert toured.returncode == 0, toured.stdout + toured.stderr
    assert '"status":"cancelled"' in toured.stdout
    assert "orders_created_total" in toured.stdout
    assert {line["service"] for line in accounts.logs()} == {"accounts"}


def test_docker_stop_under_load_fails_no_request(
    containers: Fleet, accounts: Container, caller: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    container = containers.service("orders", alias="stopped", env=NO_LIMIT)
    container.wait_until_ready()
    load = Load(container.url(), "/api/orders?limit=1", caller).start()
    load.wait_for_responses(REQUESTS)

    container.docker("stop", "--time", "30", container.name, timeout_s=60)

    load.join()
    report(capsys, "docker stop under load", load.summary)
    assert load.failures == []
    assert load.closes > 0
    state = container.state()
    assert (state["ExitCode"], state["OOMKilled"]) == (0, False), container.output()
    messages = [line["message"] for line in container.logs()]
    assert "received SIGTERM" in messages
    assert messages[-1] == "shutdown complete"


def test_the_admin_port_counts_requests(orders: Container, caller: dict[str, str]) -> None:
    for _ in range(3):
        response = httpx2.get(f"{orders.url()}/api/orders", headers=caller, timeout=30, trust_env=False)
        assert response.status_code == 200

    def metrics() -> str:
        return httpx2.get(f"{orders.url(9090)}/metrics", timeout=30, trust_env=False).text

    counted = 'http_requests_total{method="GET",path="/api/orders",status="200"}'
    wait_until(lambda: counted in metrics(), what="the requests to be counted")
    assert 'revision="0123abc"' in metrics()
