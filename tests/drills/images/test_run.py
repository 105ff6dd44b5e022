"""Containers of the images: hardened, on PostgreSQL and Redis."""

import re
from collections.abc import Callable

import pytest
from starkeel_testing import wait_until

from tools.registry import read

from .conftest import SERVICES
from .container_fleet import Container, Fleet


@pytest.mark.parametrize("name", SERVICES)
def test_the_process_is_unprivileged(ready: Callable[[str], Container], name: str) -> None:
    container = ready(name)
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


def test_the_health_check_passes(ready: Callable[[str], Container]) -> None:
    started = [ready(name) for name in SERVICES]

    def states() -> set[str]:
        return {str(each.state()["Health"]["Status"]) for each in started}

    wait_until(lambda: states() == {"healthy"}, timeout_s=60, what=lambda: str(states()))
    assert states() == {"healthy"}


@pytest.mark.parametrize("name", SERVICES)
def test_the_worker_is_healthy_and_stops(containers: Fleet, name: str) -> None:
    worker = containers.service(name, alias=f"{name}-worker", command=("worker",))
    worker.wait_until_ready("/ready", port=9090)

    def health() -> str:
        return str(worker.state()["Health"]["Status"])

    wait_until(lambda: health() == "healthy", timeout_s=60, what=health)
    worker.docker("stop", "--time", "30", worker.name)
    state = worker.state()
    assert (state["ExitCode"], state["OOMKilled"]) == (0, False), worker.output()


def test_a_service_without_settings_exits_with_the_reason(containers: Fleet) -> None:
    [name, *_] = [service.name for service in read() if "database" in service.needs]
    done = containers.docker.tried("run", "--rm", *HARDENED_RUN, containers.images[name])
    assert done.returncode == 78
    assert "DATABASE_URL is not set" in done.stderr
    assert "Traceback" not in done.stderr


HARDENED_RUN = ("--read-only", "--cap-drop", "ALL", "--network", "none")


@pytest.mark.parametrize("options", [("--user", "12345:0"), ("--memory", "192m", "--memory-swap", "192m")])
def test_it_runs_as_another_user_and_with_less_memory(
    containers: Fleet, ready: Callable[[str], Container], options: tuple[str, ...]
) -> None:
    ready(SERVICES[-1])
    container = containers.service(SERVICES[-1], *options, alias="other")
    container.wait_until_ready()
    assert container.docker("stop", "--time", "30", container.name)
    state = container.state()
    assert (state["ExitCode"], state["OOMKilled"]) == (0, False), container.output()
