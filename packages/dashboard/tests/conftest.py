"""A dashboard as a process of its own."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx2
import psutil
import pytest
from starkeel_testing import wait_until

WAIT_S = 30.0
Start = Callable[..., "Running"]


class Running:
    """A dashboard that runs."""

    def __init__(self, process: subprocess.Popen[str], url: str, log: Path) -> None:
        self.process = process
        self.url = url
        self.log = log
        self.client = httpx2.Client(base_url=url, timeout=60, trust_env=False)

    def post(self, signal: str, body: bytes | str, *, content_type: str, **headers: str) -> httpx2.Response:
        return self.client.post(
            f"/v1/{signal}", content=body, headers={"Content-Type": content_type, **headers}
        )

    def page(self, path: str) -> str:
        response = self.client.get(path, headers={"Accept": "text/html"})
        assert response.status_code == 200, response.text
        return response.text

    @property
    def rss_bytes(self) -> int:
        used: int = psutil.Process(self.process.pid).memory_info().rss
        return used


@contextmanager
def dashboard(directory: Path, *options: str) -> Iterator[Running]:
    log = directory / "dashboard.log"
    command = [sys.executable, "-m", "starkeel_dashboard", "--port", "0", *options]
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, text=True)
    try:
        wait_until(lambda: "Ctrl-C" in log.read_text(), timeout_s=WAIT_S, what=log.read_text)
        url = log.read_text().split("dashboard  ")[1].split()[0]
        running = Running(process, url.partition("?")[0].rstrip("/"), log)
        with running.client:
            yield running
        process.send_signal(signal.SIGINT)
        assert process.wait(WAIT_S) == 0, log.read_text()
        assert "Traceback" not in log.read_text(), log.read_text()
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    with ExitStack() as stack:

        def run(*options: str) -> Running:
            directory = tmp_path / str(len(os.listdir(tmp_path)))
            directory.mkdir()
            return stack.enter_context(dashboard(directory, *options))

        yield run


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One dashboard for all tests of a module."""
    with dashboard(tmp_path_factory.mktemp("dashboard")) as started:
        yield started
