"""`just dev` and `just tour` in a terminal."""

import asyncio
import os
import pty
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from starkeel_testing import wait_until

from tools.dev import Runner, Terminal

ROOT = Path(__file__).parents[2]
START_S = 60


def free_ports() -> int:
    """Return the first of two consecutive free ports."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as first:
            port: int = first.getsockname()[1]
            try:
                socket.create_server(("127.0.0.1", port + 1)).close()
            except OSError:
                continue
            return port


class Dev:
    """`just dev` in a terminal of its own."""

    def __init__(self, directory: Path, options: tuple[str, ...]) -> None:
        self.directory = directory
        self.ports = [str(free_ports()), str(free_ports())]
        terminal, child = pty.openpty()
        self._terminal = terminal
        self._text: list[str] = []
        environ = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tools.dev", *self.ports, *options, "--directory", directory],
            stdin=child, stdout=child, stderr=child, cwd=ROOT, env=environ, start_new_session=True,
        )  # fmt: skip
        os.close(child)
        self._reading = Thread(target=self._read, daemon=True)
        self._reading.start()

    def _read(self) -> None:
        while True:
            try:
                chunk = os.read(self._terminal, 65_536)
            except OSError:  # every process has closed the other end
                return
            if not chunk:
                return
            self._text.append(chunk.decode(errors="replace"))

    @property
    def shown(self) -> str:
        return "".join(self._text)

    @property
    def plain(self) -> str:
        return re.sub(r"\x1b\[[0-9;]*m", "", self.shown)

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def wait_for(self, text: str, *, count: int = 1) -> None:
        def is_shown() -> bool:
            assert self.process.poll() is None, self.plain
            return self.plain.count(text) >= count

        wait_until(is_shown, timeout_s=START_S, what=lambda: f"{text!r} in\n{self.plain}")

    def tour(self) -> subprocess.CompletedProcess[str]:
        return self.tool("tour")

    def tool(self, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run another command, which reads the ports from a file."""
        command = [sys.executable, "-m", f"tools.{name}", "--directory", str(self.directory)]
        return subprocess.run(
            [*command, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
        )

    def close(self) -> None:
        try:
            if self.process.poll() is None:
                self.process.send_signal(signal.SIGINT)
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            for process in [*self.children(), psutil.Process(self.process.pid)]:
                process.kill()
            self.process.wait(10)
        self._reading.join(10)
        os.close(self._terminal)


@contextmanager
def dev(directory: Path, *options: str) -> Iterator[Dev]:
    running = Dev(directory, options)
    try:
        yield running
    finally:
        running.close()


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Dev]:
    with dev(tmp_path) as running:
        running.wait_for("stop everything")
        yield running


def test_the_tour_succeeds_and_its_trace_crosses_services(fleet: Dev) -> None:
    toured = fleet.tour()

    assert toured.returncode == 0, f"{toured.stdout}{toured.stderr}\n{fleet.plain}"
    assert "HTTP/1.1 201" in toured.stdout
    assert "HTTP/1.1 400" in toured.stdout
    assert re.search(r'^orders_created_total\{product="oak-plank"\} 1\.0$', toured.stdout, re.MULTILINE)
    traced = fleet.tool("traces", "--limit", "100")
    assert (traced.returncode, traced.stderr) == (0, ""), traced
    assert re.search(r"^orders · POST /api/orders 201 .*ms$", traced.stdout, re.MULTILINE), traced.stdout
    assert re.search(r"^│ └ GET /api/users/me +accounts ", traced.stdout, re.MULTILINE), traced.stdout
    one_trace = toured.stdout.rpartition("# One trace")[2]
    assert "order created" in one_trace
    assert "/api/users/me" in one_trace


def test_the_last_lines_of_a_start_list_the_services(fleet: Dev) -> None:
    summary = fleet.plain.rpartition("ready; code changes")[2]

    port, admin = (int(port) for port in fleet.ports)
    for name, n in (("accounts", 0), ("orders", 1)):
        assert re.search(
            rf"{name} +http://127.0.0.1:{port + n} .* admin http://127.0.0.1:{admin + n}/", summary
        )
    # One feature a line.
    assert re.search(r"accounts +│ +on +database \(sqlite at ", fleet.plain)


def test_commands_find_no_services_once_they_have_stopped(tmp_path: Path) -> None:
    with dev(tmp_path) as running:
        running.wait_for("stop everything")
        assert (tmp_path / ".data" / "dev.json").exists()

    assert not (tmp_path / ".data" / "dev.json").exists()
    toured = subprocess.run(
        [sys.executable, "-m", "tools.tour", *running.ports, "--directory", tmp_path],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert toured.returncode == 1
    assert toured.stderr == (
        f"no service responds: accounts at http://127.0.0.1:{running.ports[0]}, "
        f"orders at http://127.0.0.1:{int(running.ports[0]) + 1}; "
        "start them in another terminal: uv run just dev\n"
    )


@pytest.mark.needs_postgres
@pytest.mark.needs_redis
def test_services_run_on_servers_on_request(tmp_path: Path) -> None:
    with dev(tmp_path, "--postgres", "--redis") as running:
        running.wait_for("stop everything")
        assert running.plain.count("on  database (postgresql at ") == 2
        assert running.tour().returncode == 0
        children = running.children()

    assert not [child for child in children if child.is_running()]


def test_an_unknown_service_is_refused_with_those_that_exist() -> None:
    command = [sys.executable, "-m", "tools.service", "order", "config"]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == os.EX_USAGE
    assert done.stderr == "there is no service 'order'; services: accounts, orders\n"


def test_doctor_lists_what_is_missing_and_how_to_install_it(tmp_path: Path) -> None:
    (tmp_path / "haproxy").write_text("")
    (tmp_path / "haproxy").chmod(0o755)
    code = f"import tools.doctor as d; d.SBIN = '{tmp_path}'; d.main()"

    done = {
        arguments: subprocess.run(
            [sys.executable, "-c", code, *arguments], env=os.environ | {"PATH": str(tmp_path)},
            cwd=ROOT, capture_output=True, text=True, timeout=60, check=True,
        ).stdout
        for arguments in ((), ("--packages", "drill"))
    }  # fmt: skip

    assert re.search(r"^lacks  just drill$", done[()], re.MULTILINE)
    assert re.search(r"^ +nginx +sudo apt-get install nginx-light$", done[()], re.MULTILINE)
    assert "haproxy" not in done[()]
    assert done["--packages", "drill"].split() == [
        *("nginx-light", "apache2-bin", "pgbouncer", "prometheus", "prometheus-alertmanager", "chromium")
    ]


def test_traces_rejects_an_invalid_limit() -> None:
    command = [sys.executable, "-m", "tools.traces", "--limit", "few"]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 2
    assert "argument --limit: invalid int value: 'few'" in done.stderr


def test_ctrl_c_stops_every_process(fleet: Dev) -> None:
    children = fleet.children()
    assert len(children) >= 4  # a main process and a worker each

    shown = len(fleet.plain)
    fleet.process.send_signal(signal.SIGINT)

    assert fleet.process.wait(30) == 0
    assert not [child for child in children if child.is_running()]
    wait_until(lambda: fleet.plain[shown:].count("shutdown complete") == 2, timeout_s=5, what=fleet.plain)
    assert fleet.plain[shown:].count("received Ctrl+C") == 2


def test_lines_start_with_the_service_in_its_colour(fleet: Dev) -> None:
    for name in ("accounts", "orders"):
        assert re.search(rf"\x1b\[\d+m{name} +│\x1b\[0m .*listening", fleet.shown)


def test_a_code_change_restarts_only_its_service(fleet: Dev) -> None:
    (ROOT / "services" / "orders" / "src" / "orders" / "schemas.py").touch()

    fleet.wait_for("restarting: services/orders/src/orders/schemas.py changed")
    fleet.wait_for("received SIGTERM")
    fleet.wait_for("listening", count=3)
    assert re.search(r"orders +│ .*received SIGTERM", fleet.plain)
    assert not re.search(r"accounts +│ .*received SIGTERM", fleet.plain)


@pytest.mark.parametrize("which", [0, 1], ids=["port", "metrics port"])
def test_a_port_in_use_is_reported_with_its_process_and_a_solution(which: int, tmp_path: Path) -> None:
    ports = [free_ports(), free_ports()]
    with socket.create_server(("127.0.0.1", ports[which] + 1)):
        done = subprocess.run(
            [sys.executable, "-m", "tools.dev", *map(str, ports), "--directory", tmp_path],
            cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    assert done.returncode == 71
    assert f"port {ports[which] + 1}, needed by orders, is taken by process {os.getpid()}" in done.stderr
    assert "uv run just dev" in done.stderr


async def test_a_service_that_is_stopped_while_it_is_created_does_not_stay(tmp_path: Path) -> None:
    member: Any = SimpleNamespace(name="http.server", directory=tmp_path, log=tmp_path / "log")
    runner = Runner(member, dict(os.environ), Terminal([member]))
    run = asyncio.ensure_future(runner.run())
    # The next step of the loop is in the middle of creating the process.
    await asyncio.sleep(0)
    assert runner._process is None

    runner.stop()

    await asyncio.wait_for(run, timeout=20)
    assert runner._process is None
