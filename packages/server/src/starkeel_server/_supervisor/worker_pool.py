"""The worker pool: serving workers, the replacement being started, and the one being drained."""

import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock

from .._config.service import Service
from .._ipc.scoreboard import Scoreboard, WorkerSlot
from .._ipc.spawn import SpareProcess
from .._ipc.startup_channel import StartupListener
from .._ipc.worker_process import WorkerProcess, WorkerSpec
from .._process.runtime_dir import RuntimeDirectory
from .config_reload import ReloadableConfig
from .lifecycle import Lifecycle

Spawn = Callable[[int, WorkerSlot, bool], WorkerProcess]
"""Starts a worker, given its index, its slot, and whether it uses the candidate configuration."""
_POLL_S = 0.01


class WorkerPool:
    """The configured number of workers, and one more while a worker is being replaced.

    `scoreboard` has one more slot than there are workers.
    """

    def __init__(self, scoreboard: Scoreboard, lifecycle: Lifecycle, spawn: Spawn) -> None:
        self._scoreboard = scoreboard
        self._lifecycle = lifecycle
        self._spawn = spawn
        # Held while a worker is started, so that `kill_all` misses none.
        self._lock = Lock()
        self.indexes = range(scoreboard.slots - 1)
        self.slots = [scoreboard.slot(index) for index in self.indexes]
        """Slot of each worker by index; that of the previous worker while it is restarted."""
        self.serving: dict[int, WorkerProcess] = {}
        self.replacement: WorkerProcess | None = None
        self.retiring: WorkerProcess | None = None

    @property
    def is_up(self) -> bool:
        return len(self.serving) == len(self.indexes) and all(
            worker.is_up for worker in self.serving.values()
        )

    def all(self) -> list[WorkerProcess]:
        """Return every worker that was started and not removed."""
        temporary = (worker for worker in (self.replacement, self.retiring) if worker is not None)
        return [*self.serving.values(), *temporary]

    def missing(self) -> list[int]:
        """Return the indexes without a worker that serves, starts or is to replace one: those in backoff."""
        replaced = None if self.replacement is None else self.replacement.index
        return [index for index in self.indexes if index not in self.serving and index != replaced]

    def notify_all(self) -> None:
        """Let every worker read the scoreboard; may be called from other threads."""
        for worker in self.all():
            worker.channel.notify()

    def exited(self) -> list[WorkerProcess]:
        return [worker for worker in self.all() if worker.returncode is not None]

    def start(self, index: int) -> None:
        """Start a worker, unless the service stops."""
        with self._lock:
            if not self._lifecycle.is_stopping:
                self.serving[index] = self._spawn(index, self.slots[index], False)

    def start_replacement(self, index: int) -> WorkerProcess | None:
        """Start a worker that is to replace another; return None if the service stops."""
        with self._lock:
            if not self._lifecycle.is_stopping:
                self.replacement = self._spawn(index, self._free_slot(), True)
        return self.replacement

    def promote(self) -> WorkerProcess | None:
        """Make the replacement the serving worker; return the worker it replaces if that still runs."""
        assert self.replacement is not None
        index = self.replacement.index
        self.retiring = self.serving.pop(index, None)
        self.slots[index] = self.replacement.slot
        self.serving[index], self.replacement = self.replacement, None
        return self.retiring

    def remove(self, worker: WorkerProcess) -> None:
        if self.replacement is worker:
            self.replacement = None
        elif self.retiring is worker:
            self.retiring = None
        else:
            del self.serving[worker.index]

    def kill_all(self) -> None:
        """Kill every worker, after the service has begun to stop; may be called from other threads."""
        with self._lock:
            for worker in self.all():
                worker.kill()

    def end_startup(self, *, timeout_s: float) -> None:
        """End every worker before the port is open; may be called from other threads.

        The first one has `timeout_s` seconds to roll back a migration.
        """
        until = time.monotonic() + timeout_s
        while any(worker.is_preparing for worker in self.all()) and time.monotonic() < until:
            time.sleep(_POLL_S)
        self.kill_all()
        for worker in self.all():
            worker.wait()

    def _free_slot(self) -> WorkerSlot:
        taken = {slot.number for slot in (*self.slots, *(worker.slot for worker in self.all()))}
        return self._scoreboard.slot(
            next(slot for slot in range(self._scoreboard.slots) if slot not in taken)
        )


@dataclass(kw_only=True)
class WorkerSpawner:
    """Starts worker processes; the first one prepares the startup."""

    service: Service
    config: ReloadableConfig
    directory: RuntimeDirectory
    listener: socket.socket | None
    first: SpareProcess | None
    """Interpreter of the first worker; None once it is used."""
    startup: StartupListener = field(default_factory=StartupListener)

    def __call__(self, index: int, slot: WorkerSlot, use_candidate: bool) -> WorkerProcess:
        snapshot = self.config.candidate if use_candidate else self.config.active
        listener = None if self.listener is None else self.listener.fileno()
        first, self.first = self.first, None
        startup = None if first is None else self.startup.writer
        spec = WorkerSpec(
            service=self.service,
            scoreboard=str(self.directory.scoreboard),
            metrics=str(self.directory.metrics),
            descriptors=[*snapshot.descriptors, *(each for each in (listener, startup) if each is not None)],
            index=index,
            slot=slot.number,
            workers=snapshot.server.workers,
            environ=snapshot.environ,
            listener=listener,
            path=sys.path,
            startup=startup,
        )
        return WorkerProcess(first or SpareProcess(), spec, slot)
