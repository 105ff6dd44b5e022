"""Replacing workers while the service serves: each new one is ready before the one before it leaves."""

import time
from collections.abc import Callable, Generator, Iterable, Iterator

import structlog

from ._board import Phase
from ._configuration import Configuration
from ._crew import Crew
from ._handover import Handover
from ._workers import LEAVE_GRACE_S, Worker

log = structlog.get_logger(__name__)

ARRIVAL_S = 60.0
"""Seconds a worker may take until it is ready."""
LEAST_LEAVE_S = 1.0
"""Seconds, at least, that a worker goes on answering on connections it has, asking to close each: a client
that sends a request every second on a kept connection never sees it closed without notice."""
MARGIN_S = 1.0
"""Seconds a worker gets beyond its grace and flush before it is killed."""
RELOAD = "reload"


class Turnover:
    """Replaces those workers that are to be replaced, one by one; `step` takes it further.

    Args:
        crew: The workers.
        configuration: What they are started with.
        on_replaced: Called with the reason when a worker has taken another's place.
    """

    def __init__(
        self, crew: Crew, configuration: Configuration, *, on_replaced: Callable[[str], None]
    ) -> None:
        self._crew = crew
        self._configuration = configuration
        self._on_replaced = on_replaced
        self._wanted: dict[int, str] = {}
        self._going: Iterator[None] = iter(())

    def want(self, indexes: Iterable[int], reason: str) -> None:
        """Have workers replaced, one that is being replaced once more."""
        for index in indexes:
            # What is wanted for a new configuration stays so, as its end is told.
            if self._wanted.get(index) != RELOAD:
                self._wanted[index] = reason

    def is_wanted(self, index: int) -> bool:
        """Whether a worker is to be replaced anyway."""
        return index in self._wanted

    def step(self) -> None:
        """Go on as far as is possible without waiting."""
        if next(self._going, self) is self and self._wanted:
            index = next(iter(self._wanted))
            self._going = self._replace(index, self._wanted.pop(index))

    def _replace(self, index: int, reason: str) -> Iterator[None]:
        tried = self._configuration.latest
        arriving = self._crew.invite(index)
        if arriving is None:
            return
        if not (yield from self._until_ready(arriving)):
            yield from self._dismiss(arriving)
            self._give_up(index, reason, tried)
            return
        leaving = self._crew.promote()
        self._configuration.prove(tried)
        self._on_replaced(reason)
        log.info("worker replaced", index=index, worker_pid=arriving.pid, reason=reason)
        if leaving is not None:
            yield from self._see_off(leaving)
        if reason == RELOAD and RELOAD not in self._wanted.values():
            log.info("workers replaced")

    def _until_ready(self, arriving: Worker) -> Generator[None, None, bool]:
        until = time.monotonic() + ARRIVAL_S
        while self._crew.arriving is arriving and time.monotonic() < until:
            before = self._crew.serving.get(arriving.index)
            # While the database is away neither is ready: the one before is no better.
            if arriving.is_up and (arriving.seat.is_ready or before is None or not before.seat.is_ready):
                return True
            yield
        return False

    def _dismiss(self, arriving: Worker) -> Iterator[None]:
        arriving.kill()
        while self._crew.arriving is arriving:
            yield

    def _give_up(self, index: int, reason: str, tried: Handover) -> None:
        log.error("worker not replaced: the new one did not become ready", index=index, reason=reason)
        # Unless there is something newer to try.
        if self._configuration.latest is tried:
            self._wanted = {other: why for other, why in self._wanted.items() if why != RELOAD}
            self._configuration.revert()
        if index not in self._crew.serving:
            # The one that was to be replaced has crashed meanwhile.
            self._crew.start(index)

    def _see_off(self, leaving: Worker) -> Iterator[None]:
        server = self._configuration.proven.server
        leaving.seat.lead(Phase.DRAINING)
        yield from self._until_gone(leaving, max(LEAST_LEAVE_S, server.drain_delay_s))
        leaving.seat.lead(Phase.STOPPING)
        grace_s = max(LEAVE_GRACE_S, server.shutdown_grace_s)
        yield from self._until_gone(leaving, grace_s + server.shutdown_flush_s + MARGIN_S)
        if self._crew.leaving is leaving:
            log.error("worker killed: it did not stop in time", index=leaving.index, worker_pid=leaving.pid)
            leaving.kill()
            yield from self._until_gone(leaving, MARGIN_S)

    def _until_gone(self, leaving: Worker, timeout_s: float) -> Iterator[None]:
        until = time.monotonic() + timeout_s
        while self._crew.leaving is leaving and time.monotonic() < until:
            yield
