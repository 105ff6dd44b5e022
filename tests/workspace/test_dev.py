"""`just dev` in a terminal, and the commands that follow it."""

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from starkeel_testing import wait_until

from tools.dev_dashboard import Dashboard
from tools.dev_runner import Runner, Terminal
from tools.registry import ROOT, read
from tools.workspace import fleet as members_at
from tools.workspace import service_names

from ..support.dev import Dev, dev, free_ports

NAMES = service_names()


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Dev]:
    with dev(tmp_path) as running:
        running.wait_for("stop everything")
        yield running


def test_the_last_lines_of_a_start_list_the_services(fleet: Dev) -> None:
    summary = fleet.plain.rpartition("ready; code changes")[2]

    for member in fleet.members:
        assert re.search(rf"{member.name} +{member.url} .* admin {member.metrics_url}/", summary)
    assert " WARN " not in fleet.plain
    # One feature a line.
    for service in read():
        assert re.search(rf"{service.name} +│ +on +\w+", fleet.plain)
        if "database" in service.needs:
            assert re.search(rf"{service.name} +│ +on +database \(sqlite at ", fleet.plain)


def test_commands_find_no_services_once_they_have_stopped(tmp_path: Path) -> None:
    with dev(tmp_path) as running:
        running.wait_for("stop everything")
        assert (tmp_path / ".data" / "dev.json").exists()

    assert not (tmp_path / ".data" / "dev.json").exists()


@pytest.mark.needs_postgres
@pytest.mark.needs_redis
def test_services_run_on_servers_on_request(tmp_path: Path) -> None:
    with dev(tmp_path, "--postgres", "--redis") as running:
        running.wait_for("stop everything")
        expected = sum("database" in service.needs for service in read())
        assert len(re.findall(r"\bon +database \(postgresql at ", running.plain)) == expected
        children = running.children()

    assert not [child for child in children if child.is_running()]


def test_an_unknown_service_is_refused_with_those_that_exist() -> None:
    command = [sys.executable, "-m", "tools.service", f"{NAMES[0]}x", "config"]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == os.EX_USAGE
    assert done.stderr == f"there is no service '{NAMES[0]}x'; services: {', '.join(NAMES)}\n"


def test_doctor_lists_what_is_missing_and_how_to_install_it(tmp_path: Path) -> None:
    (tmp_path / "haproxy").write_text("")
    (tmp_path / "haproxy").chmod(0o755)
    environ = {**os.environ, "PATH": str(tmp_path), "COMPOSE": "docker compose"}
    code = f"import tools.doctor as d; d.SBIN = '{tmp_path}'; d.main()"

    done = {
        arguments: subprocess.run(
            [sys.executable, "-c", code, *arguments], env=environ,
            cwd=ROOT, capture_output=True, text=True, timeout=60, check=True,
        ).stdout
        for arguments in ((), ("--packages", "drill"))
    }  # fmt: skip

    assert re.search(r"^lacks  just drill$", done[()], re.MULTILINE)
    assert re.search(r"^ +nginx +sudo apt-get install nginx-light$", done[()], re.MULTILINE)
    assert re.search(
        r"^ +docker compose version +curl -fsSL https://get\.docker\.com \| sudo sh$", done[()], re.MULTILINE
    )
    assert "haproxy" not in done[()]
    assert done["--packages", "drill"].split() == [
        *("nginx-light", "apache2-bin", "pgbouncer", "prometheus", "prometheus-alertmanager", "chromium"),
        *("faketime", "nats-server", "nodejs", "npm"),
    ]


def test_traces_rejects_an_invalid_limit() -> None:
    command = [sys.executable, "-m", "tools.traces", "--limit", "few"]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 2
    assert "argument --limit: invalid int value: 'few'" in done.stderr


def test_ctrl_c_stops_every_process(fleet: Dev) -> None:
    children = fleet.children()
    assert len(children) >= 2 * len(NAMES)  # a main process and a worker each

    shown = len(fleet.plain)
    fleet.process.send_signal(signal.SIGINT)

    assert fleet.process.wait(30) == 0
    assert not [child for child in children if child.is_running()]
    wait_until(
        lambda: fleet.plain[shown:].count("shutdown complete") == len(NAMES), timeout_s=5, what=fleet.plain
    )
    assert fleet.plain[shown:].count("received Ctrl+C") == len(NAMES)


def test_lines_start_with_the_service_in_its_colour(fleet: Dev) -> None:
    for name in NAMES:
        assert re.search(rf"\x1b\[\d+m{name} +│\x1b\[0m .*listening", fleet.shown)


def test_a_code_change_restarts_only_its_service(fleet: Dev) -> None:
    *others, changed = NAMES
    file = f"services/{changed}/src/{changed}/app.py"
    (ROOT / file).touch()

    fleet.wait_for(f"restarting: {file} changed")
    fleet.wait_for("received SIGTERM")
    fleet.wait_for("listening", count=len(NAMES) + 1)
    assert re.search(rf"{changed} +│ .*received SIGTERM", fleet.plain)
    for name in others:
        assert not re.search(rf"{name} +│ .*received SIGTERM", fleet.plain)


@pytest.mark.parametrize("which", [0, 1], ids=["port", "metrics port"])
def test_a_port_in_use_is_reported_with_its_process_and_a_solution(which: int, tmp_path: Path) -> None:
    ports = [free_ports(), free_ports()]
    last = members_at(port=ports[0], metrics_port=ports[1])[-1]
    taken = (last.port, last.metrics_port)[which]
    with socket.create_server(("127.0.0.1", taken)):
        done = subprocess.run(
            [sys.executable, "-m", "tools.dev", *map(str, ports), "--directory", tmp_path],
            cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    assert done.returncode == 71
    assert f"port {taken}, needed by {last.name}, is taken by process {os.getpid()}" in done.stderr
    assert "uv run just dev" in done.stderr


def test_admin_ports_move_as_far_as_the_port_if_they_are_not_given(tmp_path: Path) -> None:
    first = read()[0]
    distance = first.admin_port - first.port
    while (port := free_ports()) + distance > 60_000:
        pass
    last = members_at(port=port, metrics_port=port + distance)[-1]
    with socket.create_server(("127.0.0.1", last.metrics_port)):
        done = subprocess.run(
            [sys.executable, "-m", "tools.dev", str(port), "--directory", tmp_path],
            cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    assert done.returncode == 71
    assert f"port {last.metrics_port}, needed by {last.name}, is taken by" in done.stderr


def test_ports_of_another_just_dev_are_reported_with_free_ones(fleet: Dev, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tools.dev", *fleet.ports, "--directory", tmp_path / "other"],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    assert done.returncode == 71
    taken = f"is taken by the `just dev` in {ROOT}: press Ctrl-C there, or: kill -INT {fleet.process.pid}"
    assert f"port {fleet.ports[0]}, needed by accounts, {taken}" in done.stderr
    assert done.stderr.count(taken) == 2 * len(NAMES)
    found = re.search(r"choose other ports: uv run just dev (\d+) (\d+)$", done.stderr, re.MULTILINE)
    assert found is not None
    for port in map(int, found.groups()):
        socket.create_server(("127.0.0.1", port)).close()
        socket.create_server(("127.0.0.1", port + 1)).close()


async def test_a_service_that_is_stopped_while_it_is_created_does_not_stay(tmp_path: Path) -> None:
    member: Any = SimpleNamespace(name="http.server", directory=tmp_path, log=tmp_path / "log")
    watcher = Dashboard(None, [], lambda _action, _name: None)
    runner = Runner(member, dict(os.environ), Terminal([member]), watcher, is_rendered=True)
    run = asyncio.ensure_future(runner.run())
    # The next step of the loop is in the middle of creating the process.
    await asyncio.sleep(0)
    assert runner._process is None

    runner.stop()

    await asyncio.wait_for(run, timeout=20)
    assert runner._process is None
