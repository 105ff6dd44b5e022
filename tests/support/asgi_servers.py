"""Applications run by the servers that an ordinary Litestar application uses, each as its own process."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import httpx2
from starkeel_testing import wait_until

_START_S: Final = 60.0
_ATTEMPTS: Final = 3

COMMANDS: Final[Mapping[str, Sequence[str]]] = {
    "uvicorn": ("-m", "uvicorn", "{app}", "--host", "127.0.0.1", "--port", "{port}"),
    "uvicorn-workers": (
        "-m",
        "uvicorn",
        "{app}",
        "--host",
        "127.0.0.1",
        "--port",
        "{port}",
        "--workers",
        "2",
    ),
    "hypercorn": ("-m", "hypercorn", "{app}", "--bind", "127.0.0.1:{port}", "--access-logfile", "-"),
    "granian": (
        "-m",
        "granian",
        "{app}",
        "--interface",
        "asgi",
        "--host",
        "127.0.0.1",
        "--port",
        "{port}",
        "--access-log",
    ),
    "litestar": ("-m", "litestar", "--app", "{app}", "run", "--host", "127.0.0.1", "--port", "{port}"),
}


class Served:
    """A process that serves an application, and all of its output."""

    def __init__(self, process: "subprocess.Popen[bytes]", port: int) -> None:
        self.process = process
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self._output: list[bytes] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def output(self) -> str:
        return b"".join(self._output).decode()

    def stop(self) -> int:
        """End the process with SIGTERM, and return its exit code after all of its output."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(_START_S)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            code = self.process.wait()
        self._reader.join(_START_S)
        assert not self._reader.is_alive(), "a process still holds the pipe"
        return code

    def is_answering(self) -> bool:
        assert self.process.poll() is None, f"ended with {self.process.returncode}\n{self.output}"
        try:
            httpx2.get(f"{self.url}/", timeout=5)
        except httpx2.HTTPError:
            return False
        return True

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as stream:
            self._output.extend(iter(stream.readline, b""))


@contextmanager
def served(
    server: str,
    app: str,
    directory: Path,
    env: Mapping[str, str] | None = None,
    *,
    python: Path = Path(sys.executable),
    is_factory: bool = False,
) -> Iterator[Served]:
    """Serve `module:attribute` of a directory until the block ends.

    Args:
        server: Key of `COMMANDS`.
        app: The application.
        directory: Working directory, and the only entry of `PYTHONPATH`.
        env: Variables to set besides `PATH` and `HOME`.
        python: Interpreter of the environment in which the server and the application are installed.
        is_factory: Whether `app` is a function that returns the application.
    """
    for attempt in range(_ATTEMPTS):
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        arguments = [each.format(app=app, port=port) for each in COMMANDS[server]]
        # Litestar's command recognizes a function.
        arguments += ["--factory"] if is_factory and server != "litestar" else []
        process = subprocess.Popen(
            [str(python), *arguments],
            cwd=directory,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(directory),
                "PYTHONPATH": str(directory),
                **(env or {}),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        running = Served(process, port)
        try:
            wait_until(running.is_answering, timeout_s=_START_S, what=server)
        except AssertionError:
            running.stop()
            # Another process may have taken the port.
            if attempt + 1 < _ATTEMPTS and "in use" in running.output.lower():
                continue
            raise
        try:
            yield running
        finally:
            running.stop()
        return
