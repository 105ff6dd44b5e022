"""Main's workers, put together."""

import signal
import socket
import sys
from typing import NamedTuple

import structlog

from . import _metrics
from ._board import Board, Seat
from ._configuration import Configuration
from ._crew import Crew
from ._memory import OomKills
from ._preparation import Preparation
from ._recruit import Recruit
from ._rundir import RunDirectory
from ._service import Service
from ._supervisor import Supervisor
from ._turnover import Turnover
from ._workers import Orders, Worker

log = structlog.get_logger(__name__)


class Staff(NamedTuple):
    """The workers and those who see to them."""

    board: Board
    crew: Crew
    supervisor: Supervisor
    preparation: Preparation
    metrics: _metrics.WorkerMetrics


def staffed(
    service: Service,
    configuration: Configuration,
    directory: RunDirectory,
    listener: socket.socket,
    *,
    first: Recruit,
) -> Staff:
    """Make what starts workers and sees to them; nothing is started yet.

    Args:
        service: What they serve.
        configuration: What they are started with.
        directory: Where shared memory and metrics are kept.
        listener: The socket they will accept from.
        first: Will be the first of them, and prepare the start.
    """
    workers = configuration.proven.server.workers
    board = Board.create(directory.board, slots=workers + 1)
    metrics = _metrics.WorkerMetrics()
    hire = _Hiring(service, configuration, directory, listener, workers, first)
    crew = Crew(board, spawn=hire)
    turnover = Turnover(crew, configuration, on_replaced=metrics.count_replacement)
    records = _Records(directory, metrics)
    supervisor = Supervisor(
        configuration, board, listener, crew=crew, turnover=turnover, on_end=records.note_end
    )
    return Staff(board, crew, supervisor, hire.preparation, metrics)


class _Hiring:
    """Starts workers, the first of which prepares the start."""

    def __init__(
        self,
        service: Service,
        configuration: Configuration,
        directory: RunDirectory,
        listener: socket.socket,
        workers: int,
        first: Recruit,
    ) -> None:
        self._service = service
        self._configuration = configuration
        self._directory = directory
        self._listener = listener
        self._workers = workers
        self._first: Recruit | None = first
        self.preparation = Preparation()
        self._uses_tls = configuration.proven.server.uses_tls

    def __call__(self, index: int, seat: Seat, is_trial: bool) -> Worker:
        handover = self._configuration.latest if is_trial else self._configuration.proven
        first, self._first = self._first, None
        preparation = None if first is None else self.preparation.writer
        own = (self._listener.fileno(), *(() if preparation is None else (preparation,)))
        orders = Orders(
            service=self._service,
            board=str(self._directory.board),
            metrics=str(self._directory.metrics),
            descriptors=[*handover.descriptors, *own],
            index=index,
            slot=seat.slot,
            workers=self._workers,
            environ=handover.environ,
            uses_tls=self._uses_tls,
            listener=self._listener.fileno(),
            path=sys.path,
            preparation=preparation,
        )
        return Worker(first or Recruit(), orders, seat)


class _Records:
    """Tells of workers that have ended, and clears up after them."""

    def __init__(self, directory: RunDirectory, metrics: _metrics.WorkerMetrics) -> None:
        self._directory = directory
        self._metrics = metrics
        self._oom_kills = OomKills()

    def note_end(self, worker: Worker, died: bool) -> None:
        """Note the end of a worker, and tell of it when it was not asked to end."""
        if died:
            self._metrics.count_exit(self._told(worker))
        _metrics.forget(self._directory.metrics, name=str(worker.slot), pid=worker.pid)

    def _told(self, worker: Worker) -> str:
        code = worker.returncode or 0
        who = {"index": worker.index, "worker_pid": worker.pid, "exit_code": code}
        if code == -signal.SIGKILL and self._oom_kills.is_another():
            log.error(
                "worker killed by the kernel: out of memory",
                signal="SIGKILL",
                oom_kills=self._oom_kills.count(),
                rss_bytes=worker.rss_bytes,
                **who,
            )
            return "oom"
        log.error("worker died", **who)
        return "signal" if code < 0 else "error"
