"""Child process in a session of its own: collects its output and ends all its descendants."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from signal import SIGKILL, SIGTERM, Signals
from threading import Thread

from .._wait import wait_until
from .output import Output
from .process_tree import ProcessInfo, session_processes
from .reaper import REAPER
from .unprivileged_user import UnixUser

_EXIT_S = 5.0


class Process:
    """A running program.

    Args:
        command: The program and its arguments.
        env: The complete environment.
        cwd: The working directory.
        user: Defaults to the current user.
        stop: The signal that stops the program.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path,
        user: UnixUser | None = None,
        stop: Signals = SIGTERM,
    ) -> None:
        self.output = Output()
        self._stop = stop
        self.popen: subprocess.Popen[str] = subprocess.Popen(
            command,
            env=env,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            # Ctrl-C on the tests must not reach it, and its descendants are found by the session.
            start_new_session=True,
            **(user.popen_arguments if user else {}),
        )
        # Programs with another stop signal than SIGTERM must not be killed at once.
        REAPER.watch_group(self.popen.pid, stop=SIGKILL if stop is SIGTERM else stop)
        self._readers = [self._reader(has_logs=True), self._reader(has_logs=False)]

    def terminate(self, timeout_s: float) -> int:
        """Send the stop signal and return the exit code.

        Raises:
            AssertionError: It did not end in time.
        """
        if self.popen.poll() is None:
            self.popen.send_signal(self._stop)
        return self.wait(timeout_s)

    def wait(self, timeout_s: float) -> int:
        """Return the exit code, after all output has been read.

        Raises:
            AssertionError: It did not end in time.
        """
        try:
            code = self.popen.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {timeout_s:g} s\n{self.output.text()}") from None
        self._join_readers()
        return code

    def remaining(self) -> list[ProcessInfo]:
        """Return the processes that an ended process left behind and that did not end within five seconds."""
        left: list[ProcessInfo] = []

        def all_ended() -> bool:
            # An orphaned zombie is reaped by the system.
            left[:] = [process for process in session_processes(self.popen.pid) if not process.is_zombie]
            return not left

        with suppress(AssertionError):
            wait_until(all_ended, timeout_s=_EXIT_S)
        return left

    def close(self, *, timeout_s: float = 10.0) -> None:
        """Stop the program, then kill what is left of its session; idempotent.

        Args:
            timeout_s: Seconds between the stop signal and SIGKILL.
        """
        if self.popen.poll() is None:
            self.popen.send_signal(self._stop)
            with suppress(subprocess.TimeoutExpired):
                self.popen.wait(timeout_s)
        for process in session_processes(self.popen.pid):
            with suppress(ProcessLookupError, PermissionError):
                os.kill(process.pid, SIGKILL)
        self.popen.wait()
        # A killed process exists until the kernel has ended it.
        self.remaining()
        self._join_readers()
        for reader, stream in zip(self._readers, (self.popen.stdout, self.popen.stderr), strict=True):
            # Closing a stream blocks while another thread reads it.
            if stream is not None and not reader.is_alive():
                stream.close()
        REAPER.forget(self.popen.pid)

    def _reader(self, *, has_logs: bool) -> Thread:
        stream = self.popen.stdout if has_logs else self.popen.stderr
        thread = Thread(target=self.output.read, args=(stream,), kwargs={"has_logs": has_logs}, daemon=True)
        thread.start()
        return thread

    def _join_readers(self) -> None:
        # Bounded: a descendant may hold the pipe open.
        for thread in self._readers:
            thread.join(_EXIT_S)
