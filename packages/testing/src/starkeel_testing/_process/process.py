"""Child process in a session of its own: collects its output and ends all its descendants."""

import json
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from signal import SIGKILL, SIGTERM, Signals
from threading import Condition, Thread
from typing import IO, Any

from .._wait import wait_until
from .process_tree import ProcessInfo, session_processes
from .reaper import REAPER
from .unprivileged_user import UnixUser

_START_S = 60.0
_EXIT_S = 5.0
_STOP_S = 10.0
"""Seconds between the stop signal and SIGKILL."""


class Output:
    """Lines of a process's stdout and stderr, and the log lines of its stdout."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._lines: list[str] = []
        self._logs: list[dict[str, Any]] = []
        self._open_streams = 2

    def read(self, stream: IO[str], *, has_logs: bool) -> None:
        """Collect a stream to its end."""
        for line in stream:
            entry = _log_line(line) if has_logs else None
            with self._changed:
                self._lines.append(line)
                if entry is not None:
                    self._logs.append(entry)
                self._changed.notify_all()
        with self._changed:
            self._open_streams -= 1
            self._changed.notify_all()

    def text(self) -> str:
        """Return all output so far, in the order of arrival."""
        with self._changed:
            return "".join(self._lines)

    def logs(self) -> list[dict[str, Any]]:
        """Return the log lines so far."""
        with self._changed:
            return list(self._logs)

    def wait_for_log(
        self, predicate: Callable[[dict[str, Any]], bool], *, timeout_s: float
    ) -> dict[str, Any] | None:
        """Return the first matching log line; `None` after the timeout or when both streams have ended."""
        checked = 0
        match: dict[str, Any] | None = None

        def is_over() -> bool:
            nonlocal checked, match
            new, checked = self._logs[checked:], len(self._logs)
            match = next((line for line in new if predicate(line)), None)
            return match is not None or self._open_streams == 0

        with self._changed:
            self._changed.wait_for(is_over, timeout_s)
        return match


def _log_line(text: str) -> dict[str, Any] | None:
    if not text.startswith("{"):
        return None
    try:
        entry = json.loads(text)
    except ValueError:
        return None
    return entry if isinstance(entry.get("message"), str) else None


class Process:
    """A running program with a complete environment `env`; the signal `stop` stops it."""

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

    def wait_until_accepting(self, name: str) -> None:
        """Wait until a PostgreSQL or Redis has written that it accepts connections; close it if it does not.

        Raises:
            AssertionError: It ended, or did not accept connections in time; the message contains its output.
        """

        def is_accepting() -> bool:
            assert self.popen.poll() is None, f"{name} ended while starting\n{self.output.text()}"
            return "eady to accept" in self.output.text()

        try:
            wait_until(
                is_accepting, timeout_s=_START_S, what=lambda: f"{name} to start\n{self.output.text()}"
            )
        except BaseException:
            self.close()
            raise

    def terminate(self, timeout_s: float) -> int:
        """Send the stop signal and return the exit code, as `wait`."""
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

    def close(self) -> None:
        """Stop the program, then kill what is left of its session; idempotent."""
        if self.popen.poll() is None:
            self.popen.send_signal(self._stop)
            with suppress(subprocess.TimeoutExpired):
                self.popen.wait(_STOP_S)
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
