"""An instance of the service: its processes, ports and output."""

import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from typing import IO, cast

from .._rows.verdict import Evidence
from .._target.address import Address
from .output import Output
from .processes import MARK, children, kill_all, of_instance
from .waiting import until

_OUTPUT_END_S = 1.0
_LAST_PROCESSES_S = 1.0
_SHOWN_LINES = 15
_WRAPPERS = {"uv", "sh", "bash", "dash", "env", "tini", "dumb-init", "npm exec", "npm start", "poetry", "pdm"}


class Instance:
    """A started service. It is in a process group of its own, away from signals of the terminal.

    Args:
        command: Program and arguments.
        environment: All variables.
        port: Port that it should listen on.
        admin_port: Port for operators that it should listen on.
        token: Mark of its processes.

    Raises:
        OSError: The program cannot be executed.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        port: int,
        admin_port: int,
        token: str,
    ) -> None:
        self.address = Address("http", "127.0.0.1", port, "", "127.0.0.1")
        self.admin_address = Address("http", "127.0.0.1", admin_port, "", "127.0.0.1")
        self.token = token
        self.started_at = time.monotonic()
        self.ready_s = 0.0
        """Seconds from the start until it was ready; 0 before."""
        self.exited_at = 0.0
        """Time of its exit, as of `time.monotonic`."""
        self.left_behind: list[str] = []
        """Names of its processes that went on after the exit."""
        self.last_probe = "no probe was answered"
        """Last answer of its readiness probe."""
        self._process = subprocess.Popen(  # noqa: S603 - the command to drill
            command,
            env={**environment, MARK: self.token},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self.stdout = Output(cast("IO[bytes]", self._process.stdout))
        self.stderr = Output(cast("IO[bytes]", self._process.stderr))

    @property
    def pid(self) -> int:
        """The process that was started, which gets signals."""
        return self._process.pid

    @property
    def pids(self) -> list[int]:
        """All its processes."""
        return of_instance(self.token, self.pid)

    @property
    def main_pid(self) -> int:
        """The first process below wrappers such as `uv run` and shells."""
        pid = self.pid
        while _name(pid) in _WRAPPERS and len(found := children(pid)) == 1:
            pid = found[0]
        return pid

    @property
    def exit_code(self) -> int | None:
        """Exit code, the negative number of the signal that ended it, or None while it runs."""
        return self._process.poll()

    def send_signal(self, number: signal.Signals) -> float:
        """Send a signal to the process that was started; return the time, as of `time.monotonic`."""
        at = time.monotonic()
        self._process.send_signal(number)
        return at

    def wait(self, timeout_s: float) -> bool:
        """Return whether the process exits within a time; its output is then complete.

        `exited_at` and `left_behind` are set then.
        """
        if not until(lambda: self.exit_code is not None, timeout_s):
            return False
        self.exited_at = time.monotonic()
        # Before its output is closed, which would end them.
        until(lambda: not self.pids, _LAST_PROCESSES_S)
        self.left_behind = [_name(pid) for pid in self.pids]
        self.stdout.finish(_OUTPUT_END_S)
        self.stderr.finish(_OUTPUT_END_S)
        return True

    def note_ready(self) -> None:
        """Keep the time at which it is ready first."""
        self.ready_s = self.ready_s or time.monotonic() - self.started_at

    def close(self) -> None:
        """Kill all processes that are left."""
        if self._process.poll() is None:
            self._process.kill()
        # A process may fork while the others are listed.
        until(self._are_all_killed, 5.0)
        self._process.wait()
        for output in (self.stdout, self.stderr):
            output.finish(_OUTPUT_END_S)

    def _are_all_killed(self) -> bool:
        kill_all(self.pids)
        return not self.pids

    @property
    def written(self) -> bytes:
        """Everything it has written to both streams."""
        return self.stdout.data + self.stderr.data

    def evidence(self, title: str = "last lines of its output") -> Evidence:
        """Return the end of its output."""
        lines = [*self.stderr.data.splitlines(), *self.stdout.data.splitlines()][-_SHOWN_LINES:]
        text = b"\n".join(line[:300] for line in lines)
        return Evidence(title, text.decode("utf-8", "backslashreplace") or "(none)")


def _name(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/comm") as file:
            return file.read().strip()
    except OSError:
        return ""
