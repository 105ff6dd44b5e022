"""Replacing workers while the service serves: each new one is ready before the one before it leaves."""

import time
from collections.abc import Callable, Generator, Iterable, Iterator

import structlog

from .._ipc.config_snapshot import ConfigSnapshot
from .._ipc.scoreboard import Phase
from .._ipc.worker_process import LEAVE_GRACE_S, WorkerProcess
from .config_reload import ReloadableConfig
from .worker_pool import WorkerPool

log = structlog.get_logger(__name__)

ARRIVAL_S = 60.0
"""Seconds a worker may take until it is ready."""
LEAST_LEAVE_S = 1.0
"""Seconds, at least, that a worker goes on answering on connections it has, asking to close each: a client
that sends a request every second on a kept connection never sees it closed without notice."""
MARGIN_S = 1.0
"""Seconds a worker gets beyond its grace and flush before it is killed."""
RELOAD = "reload"


class RollingRestart:
    """Replaces those workers that are to be replaced, one by one; `step` takes it further.

    Args:
        pool: The workers.
        config: What they are started with.
        on_replaced: Called with the reason when a worker has taken another's place.
    """

    def __init__(
        self, pool: WorkerPool, config: ReloadableConfig, *, on_replaced: Callable[[str], None]
    ) -> None:
        self._pool = pool
        self._config = config
        self._on_replaced = on_replaced
        self._requested: dict[int, str] = {}
        self._going: Iterator[None] = iter(())

    def request(self, indexes: Iterable[int], reason: str) -> None:
        """Have workers replaced, one that is being replaced once more."""
        for index in indexes:
            # What is wanted for a new configuration stays so, as its end is told.
            if self._requested.get(index) != RELOAD:
                self._requested[index] = reason

    def is_requested(self, index: int) -> bool:
        """Whether a worker is to be replaced anyway."""
        return index in self._requested

    def step(self) -> None:
        """Go on as far as is possible without waiting."""
        if next(self._going, self) is self and self._requested:
            index = next(iter(self._requested))
            self._going = self._replace(index, self._requested.pop(index))

    def _replace(self, index: int, reason: str) -> Iterator[None]:
        tried = self._config.candidate
        replacement = self._pool.start_replacement(index)
        if replacement is None:
            return
        if not (yield from self._until_ready(replacement)):
            yield from self._terminate(replacement)
            self._give_up(index, reason, tried)
            return
        retiring = self._pool.promote()
        self._config.activate(tried)
        self._on_replaced(reason)
        log.info("worker replaced", index=index, worker_pid=replacement.pid, reason=reason)
        if retiring is not None:
            yield from self._drain_old(retiring)
        if reason == RELOAD and RELOAD not in self._requested.values():
            log.info("workers replaced")

    def _until_ready(self, replacement: WorkerProcess) -> Generator[None, None, bool]:
        until = time.monotonic() + ARRIVAL_S
        while self._pool.replacement is replacement and time.monotonic() < until:
            before = self._pool.serving.get(replacement.index)
            # While the database is away neither is ready: the one before is no better.
            if replacement.is_up and (
                replacement.slot.is_ready or before is None or not before.slot.is_ready
            ):
                return True
            yield
        return False

    def _terminate(self, replacement: WorkerProcess) -> Iterator[None]:
        replacement.kill()
        while self._pool.replacement is replacement:
            yield

    def _give_up(self, index: int, reason: str, tried: ConfigSnapshot) -> None:
        log.error("worker not replaced: the new one did not become ready", index=index, reason=reason)
        # Unless there is something newer to try.
        if self._config.candidate is tried:
            self._requested = {other: why for other, why in self._requested.items() if why != RELOAD}
            self._config.discard_candidate()
        if index not in self._pool.serving:
            # The one that was to be replaced has crashed meanwhile.
            self._pool.start(index)

    def _drain_old(self, retiring: WorkerProcess) -> Iterator[None]:
        server = self._config.active.server
        retiring.slot.lead(Phase.DRAINING)
        yield from self._until_gone(retiring, max(LEAST_LEAVE_S, server.drain_delay_s))
        retiring.slot.lead(Phase.STOPPING)
        grace_s = max(LEAVE_GRACE_S, server.shutdown_grace_s)
        yield from self._until_gone(retiring, grace_s + server.shutdown_flush_s + MARGIN_S)
        if self._pool.retiring is retiring:
            log.error("worker killed: it did not stop in time", index=retiring.index, worker_pid=retiring.pid)
            retiring.kill()
            yield from self._until_gone(retiring, MARGIN_S)

    def _until_gone(self, retiring: WorkerProcess, timeout_s: float) -> Iterator[None]:
        until = time.monotonic() + timeout_s
        while self._pool.retiring is retiring and time.monotonic() < until:
            yield
