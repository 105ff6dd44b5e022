"""A program in a session of its own, all it says collected, nothing of it left at the end."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from signal import SIGKILL, SIGTERM, Signals
from threading import Thread

from .._wait import wait_until
from .output import Output
from .process_tree import Member, members
from .reaper import JANITOR
from .unprivileged_user import Account

_LEFT_S = 5.0


class Process:
    """A running program.

    Args:
        command: The program and its arguments.
        env: Its whole environment.
        cwd: Where it runs.
        account: Whom it runs as.
        stop: The signal that ends it.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path,
        account: Account | None = None,
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
            # Ctrl-C on the tests is not for it; and what it starts is found by the session.
            start_new_session=True,
            **(account.popen if account else {}),
        )
        JANITOR.watch_group(self.popen.pid, stop=self._last_resort)
        self._readers = [self._reader(has_logs=True), self._reader(has_logs=False)]

    def terminate(self, timeout_s: float) -> int:
        """Send the stop signal and return the exit code."""
        if self.popen.poll() is None:
            self.popen.send_signal(self._stop)
        return self.wait(timeout_s)

    def wait(self, timeout_s: float) -> int:
        """Return the exit code, everything the process said being there to read.

        Raises:
            AssertionError: It has not ended in time.
        """
        try:
            code = self.popen.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {timeout_s:g} s\n{self.output.text()}") from None
        self._join()
        return code

    def left(self) -> list[Member]:
        """Return what is left of an ended process, once that no longer changes for the better."""
        found: list[Member] = []

        def is_gone() -> bool:
            # A zombie whose parent is gone is the system's to bury.
            found[:] = [member for member in members(self.popen.pid) if not member.is_zombie]
            return not found

        with suppress(AssertionError):
            wait_until(is_gone, timeout_s=_LEFT_S)
        return found

    def close(self, *, patience_s: float = 10.0) -> None:
        """End whatever still runs, gently first; doing so again is no mistake."""
        if self.popen.poll() is None:
            self.popen.send_signal(self._stop)
            with suppress(subprocess.TimeoutExpired):
                self.popen.wait(patience_s)
        self._kill()
        self.popen.wait()
        # A process that was killed is there until the kernel gets round to it.
        self.left()
        self._join()
        for reader, stream in zip(self._readers, (self.popen.stdout, self.popen.stderr), strict=True):
            # Closing what is still being read would wait for ever.
            if stream is not None and not reader.is_alive():
                stream.close()
        JANITOR.forget_group(self.popen.pid, stop=self._last_resort)

    def _kill(self) -> None:
        for member in members(self.popen.pid):
            with suppress(ProcessLookupError, PermissionError):
                os.kill(member.pid, SIGKILL)

    @property
    def _last_resort(self) -> Signals:
        # A program that stops by anything but SIGTERM knows why, and must not be cut off.
        return SIGKILL if self._stop is SIGTERM else self._stop

    def _reader(self, *, has_logs: bool) -> Thread:
        stream = self.popen.stdout if has_logs else self.popen.stderr
        thread = Thread(target=self.output.read, args=(stream,), kwargs={"has_logs": has_logs}, daemon=True)
        thread.start()
        return thread

    def _join(self) -> None:
        # Bounded: a child that outlived the process may hold the pipe.
        for thread in self._readers:
            thread.join(_LEFT_S)
