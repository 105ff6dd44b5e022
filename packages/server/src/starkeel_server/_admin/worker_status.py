"""Status of the workers on the admin port: liveness, readiness and a metric."""

from collections import Counter
from collections.abc import Iterator
from typing import Any, Final, Literal, get_args

from .._ipc.scoreboard import Phase, WorkerSlot, WorkerState
from .._supervisor.lifecycle import Lifecycle
from .._supervisor.worker_pool import WorkerPool
from .http_server import AdminRequest, AdminResponse, Endpoint, json_response

HEARTBEAT_TIMEOUT_S: Final = 2.0
"""Seconds without a heartbeat after which a worker counts as unresponsive."""

Status = Literal["ready", "not ready", "unresponsive", "stopping", "starting", "backing off"]
_WITHOUT_CONNECTIONS: Final = {"starting", "backing off"}
"""Workers that accept no connections; the others serve all of them."""


class WorkerStatus:
    """Status of each worker and of the service, and a collector of the metric `starkeel_workers`."""

    def __init__(self, lifecycle: Lifecycle, pool: WorkerPool, *, serves_requests: bool) -> None:
        self._lifecycle = lifecycle
        self._pool = pool
        self._command = "serve" if serves_requests else "worker"

    def endpoints(self) -> dict[str, Endpoint]:
        return {
            "/live": Endpoint(self._live, "whether the main process works"),
            "/ready": Endpoint(self._ready, "whether the workers are ready"),
        }

    def collect(self) -> Iterator[Any]:
        """Yield the number of workers by status, also of statuses without workers."""
        from prometheus_client.core import GaugeMetricFamily

        counts = Counter(self._statuses())
        family = GaugeMetricFamily("starkeel_workers", "Workers by status.", labels=["status"])
        for status in get_args(Status):
            family.add_metric([status.replace(" ", "_")], counts[status])
        yield family

    def _live(self, _: AdminRequest) -> AdminResponse:
        return json_response(200, {"status": "live", "command": self._command})

    def _ready(self, _: AdminRequest) -> AdminResponse:
        """Respond like `/health/ready` on the application port: for the workers that accept connections."""
        if self._lifecycle.phase is Phase.PREPARING:
            return json_response(503, {"status": "not ready", "reason": "migrations"})
        statuses = self._statuses()
        workers = [{"index": index, "status": status} for index, status in enumerate(statuses)]
        if self._lifecycle.is_stopping:
            return json_response(503, {"status": "draining", "reason": "stopping", "workers": workers})
        if self._lifecycle.phase is Phase.RUNNING and set(statuses) - _WITHOUT_CONNECTIONS == {"ready"}:
            return json_response(200, {"status": "ready", "workers": workers})
        return json_response(503, {"status": "not ready", "reason": "workers", "workers": workers})

    def _statuses(self) -> list[Status]:
        missing = self._pool.missing()
        slots = enumerate(self._pool.slots)
        return ["backing off" if index in missing else _worker_status(slot) for index, slot in slots]


def _worker_status(slot: WorkerSlot) -> Status:
    if not slot.has_been_up:
        return "starting"
    if slot.state is WorkerState.CLOSING:
        return "stopping"
    if slot.heartbeat_age_s > HEARTBEAT_TIMEOUT_S:
        return "unresponsive"
    return "ready" if slot.is_ready else "not ready"
