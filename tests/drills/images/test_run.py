"""Containers of the images: hardened, on PostgreSQL and Redis, and stopped under load."""

import re
import subprocess
from contextlib import ExitStack
from pathlib import Path

import httpx2
import pytest
from starkeel_testing import wait_until

from ...support.load import Load
from ...support.report import report
from .conftest import ROOT
from .container_fleet import Container, Fleet

REQUESTS = 1500


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


@pytest.mark.parametrize("name", ["accounts", "orders"])
def test_the_process_is_unprivileged(request: pytest.FixtureRequest, name: str) -> None:
    container: Container = request.getfixturevalue(name)
    top = container.docker("top", container.name, "-eo", "pid,uid,gid,args")
    processes = [line.split() for line in top.splitlines()[1:]]
    assert processes
    assert {(uid, gid) for _, uid, gid, *_ in processes} == {("65532", "65532")}, top
    status = container.docker(
        "exec", container.name, "/app/.venv/bin/python", "-c", "print(open('/proc/1/status').read())"
    )
    facts = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert int(facts["CapEff"], 16) == 0
    assert int(facts["CapBnd"], 16) == 0
    assert facts["NoNewPrivs"] == "1"


def test_there_is_no_shell_and_nothing_is_writable(accounts: Container) -> None:
    docker = accounts.docker
    for program in ("sh", "/bin/sh", "bash", "/busybox/sh", "apt-get", "pip", "uv"):
        tried = docker.tried("exec", accounts.name, program)
        assert tried.returncode in {126, 127}, program
        assert re.search("no such file|not found", tried.stdout + tried.stderr), program
    writes = (
        "import os, sys\n"
        "for place in ('/', '/app', '/tmp', '/home/nonroot', '/var', '/app/.venv/lib'):\n"
        "    try:\n"
        "        open(os.path.join(place, 'x'), 'w')\n"
        "    except OSError as error:\n"
        "        print(place, error.strerror)\n"
        "    else:\n"
        "        sys.exit(place)\n"
    )
    output = docker("exec", accounts.name, "/app/.venv/bin/python", "-c", writes)
    assert output.count("Read-only file system") == 6, output


def test_the_health_check_passes(accounts: Container, orders: Container) -> None:
    def states() -> list[str]:
        return [str(each.state()["Health"]["Status"]) for each in (accounts, orders)]

    wait_until(lambda: states() == ["healthy", "healthy"], timeout_s=60, what=lambda: str(states()))
    assert states() == ["healthy", "healthy"]


def test_a_service_without_settings_exits_with_the_reason(containers: Fleet) -> None:
    done = containers.docker.tried("run", "--rm", *HARDENED_RUN, containers.images["orders"])
    assert done.returncode == 78
    assert "DATABASE_URL is not set" in done.stderr
    assert "Traceback" not in done.stderr


HARDENED_RUN = ("--read-only", "--cap-drop", "ALL", "--network", "none")


@pytest.mark.parametrize("options", [("--user", "12345:0"), ("--memory", "192m", "--memory-swap", "192m")])
def test_it_runs_as_another_user_and_with_less_memory(
    containers: Fleet, accounts: Container, options: tuple[str, ...]
) -> None:
    container = containers.service("orders", *options, alias="other")
    container.wait_until_ready()
    assert container.docker("stop", "--time", "30", container.name)
    state = container.state()
    assert (state["ExitCode"], state["OOMKilled"]) == (0, False), container.output()


def test_docker_stop_under_load_fails_no_request(
    containers: Fleet, accounts: Container, caller: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    container = containers.service("orders", alias="stopped")
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
