"""Endpoints of the admin port: liveness and readiness, and JSON for operators on the same machine."""

import asyncio
import platform
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec
import structlog

from .._config.service import Service
from .._control.log_levels import MainLogLevels
from .._control.process_hooks import ProcessHooks
from .._ipc.scoreboard import Phase, WorkerSlot, WorkerState
from .._metrics import multiprocess
from .._supervisor.config_reload import ReloadableConfig
from .._supervisor.lifecycle import Lifecycle
from .._supervisor.worker_pool import WorkerPool
from .control_client import ControlClient, WorkerReply
from .http_server import AdminRequest, AdminResponse, Endpoint, json_response, text_response

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

log = structlog.get_logger(__name__)

HEARTBEAT_TIMEOUT_S: Final = 2.0
"""Seconds without a heartbeat after which a worker counts as unresponsive."""
_DISTRIBUTION: Final = "distribution:"
_MAX_LEVELS_LENGTH: Final = 4096


class _Levels(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    levels: str


def metrics_endpoint(registry: "CollectorRegistry") -> Endpoint:

    def metrics(request: AdminRequest) -> AdminResponse:
        body, content_type = multiprocess.render(registry, request.headers.get("accept", ""))
        return AdminResponse(200, content_type, body)

    return Endpoint(metrics)


def status_endpoints(lifecycle: Lifecycle, pool: WorkerPool) -> dict[str, Endpoint]:

    def live(_: AdminRequest) -> AdminResponse:
        return json_response(200, {"status": "live"})

    def ready(_: AdminRequest) -> AdminResponse:
        if lifecycle.phase is Phase.PREPARING:
            return json_response(503, {"status": "not ready", "reason": "migrations"})
        states = [_worker_status(slot) for slot in pool.slots()]
        workers = [{"index": index, "status": status} for index, status in enumerate(states)]
        if lifecycle.is_stopping:
            return json_response(503, {"status": "draining", "reason": "stopping", "workers": workers})
        if set(states) == {"ready"}:
            return json_response(200, {"status": "ready", "workers": workers})
        return json_response(503, {"status": "not ready", "reason": "workers", "workers": workers})

    return {"/live": Endpoint(live), "/ready": Endpoint(ready)}


def _worker_status(slot: WorkerSlot) -> str:
    if not slot.has_been_up:
        return "starting"
    if slot.state is WorkerState.CLOSING:
        return "stopping"
    if slot.heartbeat_age_s > HEARTBEAT_TIMEOUT_S:
        return "unresponsive"
    return "ready" if slot.is_ready else "not ready"


class OperatorEndpoints:
    """JSON endpoints for operators on the same machine."""

    def __init__(
        self,
        service: Service,
        config: ReloadableConfig,
        *,
        hooks: ProcessHooks,
        workers: ControlClient,
        levels: MainLogLevels,
    ) -> None:
        self._service = service
        self._config = config
        self._hooks = hooks
        self._workers = workers
        self._levels = levels
        self._started_at = datetime.now(UTC)
        self._dependencies: dict[str, str] = {}

    def by_path(self) -> dict[str, Endpoint]:
        can_set_levels = self._config.active.server.log_level_changes
        methods = frozenset({"GET", "HEAD", "PUT"} if can_set_levels else {"GET", "HEAD"})
        return {
            "/info": Endpoint(self._get_info, is_private=True),
            "/config": Endpoint(self._get_config, is_private=True),
            "/routes": Endpoint(self._forward_to_any, is_private=True),
            "/migrations": Endpoint(self._forward_to_any, is_private=True),
            "/tasks": Endpoint(self._forward_to_all, is_private=True),
            "/traces": Endpoint(self._forward_to_all, is_private=True),
            "/loggers": Endpoint(self._loggers, is_private=True, methods=methods),
        }

    async def _get_info(self, _: AdminRequest) -> AdminResponse:
        settings = {entry.variable: entry.value for entry in self._config.active.entries}
        version = settings.get("SERVICE_VERSION", _DISTRIBUTION)
        self._dependencies = self._dependencies or await asyncio.to_thread(_installed_distributions)
        return json_response(
            200,
            {
                "service": settings.get("OTEL_SERVICE_NAME", self._service.name),
                "version": self._service.version() if version.startswith(_DISTRIBUTION) else version,
                "revision": settings.get("SERVICE_REVISION", "unknown"),
                "environment": settings.get("ENVIRONMENT", ""),
                "started_at": self._started_at.isoformat(timespec="seconds").replace("+00:00", "Z"),
                "python": platform.python_version(),
                "platform": platform.platform(),
                "dependencies": self._dependencies,
            },
        )

    def _get_config(self, _: AdminRequest) -> AdminResponse:
        return json_response(200, {"settings": self._config.active.entries})

    async def _forward_to_any(self, request: AdminRequest) -> AdminResponse:
        """Return the response of one worker, for content that is the same in all of them."""
        replies = await self._forward(request)
        for reply in replies:
            if reply.response.content is not None:
                return json_response(200, reply.response.content)
        return _respond(replies, status=503)

    async def _forward_to_all(self, request: AdminRequest) -> AdminResponse:
        return _respond(await self._forward(request), status=200)

    async def _forward(self, request: AdminRequest) -> list[WorkerReply]:
        return await self._workers.call(request.path.removeprefix("/"), request.query)

    async def _loggers(self, request: AdminRequest) -> AdminResponse:
        if request.method == "PUT":
            return await self._set_levels(request)
        handler = self._hooks.inquiries().get("loggers")
        if handler is None:
            return text_response(404)
        replies = await self._workers.call("loggers")
        return json_response(200, {"main": handler({}), "workers": _render(replies)})

    async def _set_levels(self, request: AdminRequest) -> AdminResponse:
        try:
            levels = msgspec.json.decode(request.body, type=_Levels).levels.strip()
            if len(levels) > _MAX_LEVELS_LENGTH:
                return text_response(413)
            self._levels.set(levels)
        except (msgspec.DecodeError, ValueError) as error:
            return json_response(400, {"error": str(error), "accepted": '{"levels": "info,orders=debug"}'})
        replies = await self._workers.call("set_log_levels", {"levels": levels})
        log.warning("log levels set", levels=levels, by=f"PUT /loggers from {request.peer}")
        # 202: a worker that did not respond handles the request later.
        all_set = all(reply.response.error is None for reply in replies)
        return json_response(200 if all_set else 202, {"levels": levels, "workers": _render(replies)})


def _respond(replies: list[WorkerReply], *, status: int) -> AdminResponse:
    """Return all replies, or 404 if no worker has a handler."""
    if replies and all(reply.response.is_unknown for reply in replies):
        return text_response(404)
    return json_response(status, {"workers": _render(replies)})


def _render(replies: list[WorkerReply]) -> list[dict[str, Any]]:
    return [reply.render() for reply in replies]


def _installed_distributions() -> dict[str, str]:
    """Return the versions of all installed distributions, sorted by name."""
    from importlib.metadata import distributions

    named = {found.metadata["Name"]: str(found.version) for found in distributions()}
    return {name: named[name] for name in sorted(filter(None, named), key=str.lower)}
