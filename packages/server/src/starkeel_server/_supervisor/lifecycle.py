"""Lifecycle of the service: the only place that decides and logs which phase it is in."""

from collections.abc import Callable
from threading import Lock
from typing import Any

from .._ipc.scoreboard import Phase, Scoreboard


class Lifecycle:
    """State machine of the service; may be used from any thread.

    Phases are entered in the order PREPARING, STARTING, RUNNING, DRAINING, STOPPING, KILLED; some may be
    skipped. Each transition is published on the scoreboard, where workers read it, and logged with `phase`.
    """

    def __init__(self, log: Callable[..., Any]) -> None:
        self._log = log
        self._lock = Lock()
        self.phase = Phase.PREPARING
        self._scoreboard: Scoreboard | None = None
        self._notify: Callable[[], object] = bool

    @property
    def is_stopping(self) -> bool:
        """Whether the service drains, stops or is being killed; no worker is started any more."""
        return self.phase >= Phase.DRAINING

    def publish_to(self, scoreboard: Scoreboard, notify: Callable[[], object] = bool) -> None:
        """Publish this and all later phases on a scoreboard, and notify its readers of later ones."""
        with self._lock:
            self._scoreboard, self._notify = scoreboard, notify
            scoreboard.phase = self.phase

    def advance(self, phase: Phase, message: str, *, after: Phase | None = None, **fields: Any) -> bool:
        """Enter a later phase and log it, if `after` is the current one or None.

        Returns:
            Whether it was entered; not if this or a later phase is current.
        """
        with self._lock:
            if phase <= self.phase or after not in {None, self.phase}:
                return False
            self._enter(phase)
        self._log(message, phase=phase.name.lower(), **fields)
        self._notify()
        return True

    def stop(self, message: str, **fields: Any) -> Phase:
        """Start to stop: drain if every worker is up, otherwise stop immediately; return the phase before."""
        with self._lock:
            before = self.phase
            if before is Phase.RUNNING:
                self._enter(Phase.DRAINING)
            elif before < Phase.DRAINING:
                self._enter(Phase.STOPPING)
        self._log(message, phase=self.phase.name.lower(), **fields)
        self._notify()
        return before

    def _enter(self, phase: Phase) -> None:
        self.phase = phase
        if self._scoreboard is not None:
            self._scoreboard.phase = phase
