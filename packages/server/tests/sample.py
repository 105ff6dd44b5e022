"""A sample service, written to a directory and run as its own process."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx2

SETTINGS = (Path(__file__).parent / "sample_settings.py.txt").read_text()

APP = (Path(__file__).parent / "sample_app.py.txt").read_text()

MAIN = """
from starkeel_server import Service, run
SERVICE = Service(name="sample", settings="sample.settings:AllSettings", app="sample.app:create_app")
if __name__ == "__main__":
    run(SERVICE)
"""

WAIT_S = 60.0


def wait_until(is_so: Callable[[], Any], *, timeout_s: float = WAIT_S, what: object = "") -> Any:
    """Wait until the result of a function is true and return it."""
    until = time.monotonic() + timeout_s
    while not (found := is_so()):
        assert time.monotonic() < until, f"waited {timeout_s} s for {what or is_so}"
        # A polling interval.
        threading.Event().wait(0.02)
    return found


class Sample:
    """A process of the sample service."""

    def __init__(self, command: list[str], env: dict[str, str], cwd: Path, **popen: Any) -> None:
        popen.setdefault("stdout", subprocess.PIPE)
        popen.setdefault("stderr", subprocess.PIPE)
        self.process = subprocess.Popen(command, env=env, cwd=cwd, text=True, **popen)
        self.tmp = Path(env["TMPDIR"])
        self.lines: list[str] = []
        self.errors: list[str] = []
        self._threads = [
            threading.Thread(target=_collect, args=(stream, into), daemon=True)
            for stream, into in ((self.process.stdout, self.lines), (self.process.stderr, self.errors))
            if stream is not None
        ]
        for thread in self._threads:
            thread.start()

    @property
    def logs(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in list(self.lines) if line.startswith("{")]

    @property
    def messages(self) -> list[str]:
        return [line["message"] for line in self.logs]

    @property
    def output(self) -> str:
        return "".join(self.lines + self.errors)

    def wait_for_log(self, message: str, *, count: int = 1, **fields: Any) -> dict[str, Any]:
        def found() -> dict[str, Any] | None:
            hits = [
                line for line in self.logs if line["message"] == message and fields.items() <= line.items()
            ]
            if len(hits) < count and self.process.poll() is not None:
                self._join()
                hits = [
                    line
                    for line in self.logs
                    if line["message"] == message and fields.items() <= line.items()
                ]
                assert len(hits) >= count, f"ended with {self.process.returncode}:\n{self.output}"
            return hits[count - 1] if len(hits) >= count else None

        try:
            line: dict[str, Any] = wait_until(found, what=message)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.output}") from None
        return line

    @property
    def url(self) -> str:
        return f"http://{self.wait_for_log('listening')['addr']}"

    @property
    def admin(self) -> str:
        return f"http://{self.wait_for_log('admin port opened')['addr']}"

    def wait_until_ready(self) -> "Sample":
        self.wait_for_log("workers started")
        wait_until(lambda: httpx2.get(f"{self.url}/health/ready").status_code == 200, what="ready")
        return self

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self, timeout_s: float = WAIT_S) -> int:
        code = self.process.wait(timeout_s)
        self._join()
        return code

    def stop(self) -> int:
        self.signal(signal.SIGTERM)
        return self.wait()

    def _join(self) -> None:
        for thread in self._threads:
            thread.join(5)

    def close(self) -> None:
        if self.process.poll() is None:
            # Two different signals: two of a kind may be delivered as one.
            self.process.send_signal(signal.SIGTERM)
            self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(WAIT_S)
        self._join()
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()


def reloaded(sample: Sample, *, count: int = 1) -> None:
    """Reload, and wait until the workers were replaced."""
    sample.signal(signal.SIGHUP)
    sample.wait_for_log("workers replaced", count=count)


def refused(sample: Sample) -> str:
    """Reload, and return why the configuration was refused."""
    sample.signal(signal.SIGHUP)
    reason: str = sample.wait_for_log("configuration refused: workers keep the current one")["reason"]
    return reason


def _collect(stream: Any, into: list[str]) -> None:
    into.extend(stream)


class Samples:
    """Starts processes of the sample service."""

    wait_until = staticmethod(wait_until)

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self.directory = directory
        self.tmp = directory / "tmp"
        self.tmp.mkdir()
        self._stack = stack
        package = directory / "sample"
        package.mkdir()
        for name, text in (("__init__", ""), ("settings", SETTINGS), ("app", APP), ("__main__", MAIN)):
            (package / f"{name}.py").write_text(text)

    def edit(self, name: str, old: str, new: str) -> None:
        """Replace text that a file of the sample service contains."""
        file = self.directory / "sample" / name
        text = file.read_text()
        assert old in text, f"{name} contains no {old!r}"
        file.write_text(text.replace(old, new))

    def environ(self, **env: object) -> dict[str, str]:
        base = {key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ}
        return {
            **base,
            "TMPDIR": str(self.tmp),
            "HOST": "127.0.0.1",
            "METRICS_HOST": "127.0.0.1",
            "PORT": "0",
            "METRICS_PORT": "0",
            "DRAIN_DELAY_SECONDS": "0",
            "SHUTDOWN_GRACE_SECONDS": "10",
            "SAMPLE_PASSWORD": "correct horse",
            **{name: str(value) for name, value in env.items()},
        }

    def start(self, *arguments: str, popen: dict[str, Any] | None = None, **env: Any) -> Sample:
        return self.run([sys.executable, "-m", "sample", *arguments], popen=popen, **env)

    def run(self, command: list[str], *, popen: dict[str, Any] | None = None, **env: Any) -> Sample:
        """Run a command that starts the sample service."""
        sample = Sample(command, self.environ(**env), self.directory, **(popen or {}))
        self._stack.callback(sample.close)
        return sample

    def ready(self, **env: Any) -> Sample:
        return self.start(**env).wait_until_ready()

    def finished(self, *arguments: str, **env: Any) -> Sample:
        sample = self.start(*arguments, **env)
        sample.wait()
        return sample

    def signal_group(self, sample: Sample, number: signal.Signals) -> None:
        """Send a signal to the process group of a sample started in its own session."""
        group = os.getpgid(sample.process.pid)
        assert group == sample.process.pid
        os.killpg(group, number)

    def processes(self) -> list[int]:
        """Return every process whose working directory is the sample's."""
        numbered = [entry for entry in Path("/proc").iterdir() if entry.name.isdigit()]
        return [int(e.name) for e in numbered if _cwd(e) == self.directory and not _is_zombie(e)]


def _cwd(entry: Path) -> Path | None:
    try:
        return (entry / "cwd").readlink()
    except OSError:
        return None


def _is_zombie(entry: Path) -> bool:
    try:
        return "\nState:\tZ" in (entry / "status").read_text()
    except OSError:
        return True
