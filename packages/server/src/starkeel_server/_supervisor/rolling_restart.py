"""Rolling restart: replaces workers one by one; each replacement is ready before its predecessor drains."""

import time
from collections.abc import Callable, Generator, Iterable, Iterator

import structlog

from .._ipc.config_snapshot import ConfigSnapshot
from .._ipc.scoreboard import Phase
from .._ipc.worker_process import REPLACED_GRACE_S, WorkerProcess
from .config_reload import ReloadableConfig
from .worker_pool import WorkerPool

log = structlog.get_logger(__name__)

READY_TIMEOUT_S = 60.0
"""Seconds a replacement may take until it is ready."""
MIN_DRAIN_S = 1.0
"""Minimum seconds a replaced worker keeps answering on open connections with `Connection: close`: a client
that sends a request every second on a kept connection never has it closed without notice."""
MARGIN_S = 1.0
"""Seconds beyond grace and flush before a worker is killed."""
RELOAD = "reload"


class RollingRestart:
    """Replaces workers one by one, and calls `on_replaced` with the reason after each."""

    def __init__(
        self, pool: WorkerPool, config: ReloadableConfig, *, on_replaced: Callable[[str], None]
    ) -> None:
        self._pool = pool
        self._config = config
        self._on_replaced = on_replaced
        self._requested: dict[int, str] = {}
        self._running: Iterator[None] = iter(())
        self.is_running = False
        """Whether `step` must be called again soon."""

    def request(self, indexes: Iterable[int], reason: str) -> None:
        """Schedule workers for replacement; a worker already being replaced is replaced again."""
        for index in indexes:
            # Keep RELOAD as the reason: the end of a reload is logged.
            if self._requested.get(index) != RELOAD:
                self._requested[index] = reason

    def is_requested(self, index: int) -> bool:
        return index in self._requested

    def step(self) -> None:
        """Continue as far as possible without waiting."""
        self.is_running = next(self._running, self) is not self
        if not self.is_running and self._requested:
            self.is_running = True
            index = next(iter(self._requested))
            self._running = self._replace(index, self._requested.pop(index))

    def _replace(self, index: int, reason: str) -> Iterator[None]:
        tried = self._config.candidate
        replacement = self._pool.start_replacement(index)
        if replacement is None:
            return
        if not (yield from self._until_ready(replacement)):
            replacement.kill()
            while self._pool.replacement is replacement:
                yield
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
        until = time.monotonic() + READY_TIMEOUT_S
        while self._pool.replacement is replacement and time.monotonic() < until:
            before = self._pool.serving.get(replacement.index)
            # Without the database neither worker is ready: keeping the old one has no advantage.
            if replacement.is_up and (
                replacement.slot.is_ready or before is None or not before.slot.is_ready
            ):
                return True
            yield
        return False

    def _give_up(self, index: int, reason: str, tried: ConfigSnapshot) -> None:
        log.error("worker not replaced: replacement did not become ready", index=index, reason=reason)
        # Unless a newer configuration was read meanwhile.
        if self._config.candidate is tried:
            self._requested = {other: why for other, why in self._requested.items() if why != RELOAD}
            self._config.discard_candidate()

    def _drain_old(self, retiring: WorkerProcess) -> Iterator[None]:
        server = self._config.active.server
        retiring.set_phase(Phase.DRAINING)
        yield from self._wait_for_exit(retiring, max(MIN_DRAIN_S, server.drain_delay_s))
        retiring.set_phase(Phase.STOPPING)
        grace_s = max(REPLACED_GRACE_S, server.shutdown_grace_s)
        yield from self._wait_for_exit(retiring, grace_s + server.shutdown_flush_s + MARGIN_S)
        if self._pool.retiring is retiring:
            log.error("worker killed: it did not stop in time", index=retiring.index, worker_pid=retiring.pid)
            retiring.kill()
            yield from self._wait_for_exit(retiring, MARGIN_S)

    def _wait_for_exit(self, retiring: WorkerProcess, timeout_s: float) -> Iterator[None]:
        until = time.monotonic() + timeout_s
        while self._pool.retiring is retiring and time.monotonic() < until:
            yield
