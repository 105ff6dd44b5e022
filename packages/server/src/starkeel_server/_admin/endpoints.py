"""The admin port's pages for operators: JSON, for those on this machine only."""

import asyncio
import platform
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
import structlog

from .._config.service import Service
from .._control.log_levels import VARIABLE, LogLevelsFile, MainLogLevels
from .._control.process_hooks import ProcessHooks
from .._ipc.config_snapshot import ConfigSnapshot
from .._ipc.scoreboard import Phase, Scoreboard, WorkerSlot, WorkerState
from .._ipc.worker_process import WorkerProcess
from .._supervisor.config_reload import ReloadableConfig
from .._supervisor.worker_pool import WorkerPool
from .control_client import ControlClient, WorkerReply, contents
from .http_server import AdminRequest, AdminResponse, Endpoint, json_response, text_response

log = structlog.get_logger(__name__)

_DISTRIBUTION: Final = "distribution:"
_MOST_LEVELS: Final = 4096

SILENT_S = 2.0
"""Seconds after which a worker whose event loop was not heard of is not ready."""


class _Levels(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    levels: str


class OperatorEndpoints:
    """What an operator can ask a running service.

    Args:
        service: The service.
        config: Its configuration.
        parts: Of main.
        desks: Of the workers.
        levels: Main's log levels.
    """

    def __init__(
        self,
        service: Service,
        config: ReloadableConfig,
        *,
        parts: ProcessHooks,
        desks: ControlClient,
        levels: MainLogLevels,
    ) -> None:
        self._service = service
        self._settings = config
        self._parts = parts
        self._desks = desks
        self._levels = levels
        self._started_at = datetime.now(UTC)
        self._dependencies: dict[str, str] = {}

    def endpoints(self, *, can_set_levels: bool) -> dict[str, Endpoint]:
        """The pages, by path.

        Args:
            can_set_levels: Whether log levels may be changed.
        """
        methods = frozenset({"GET", "HEAD", "PUT"} if can_set_levels else {"GET", "HEAD"})
        return {
            "/info": Endpoint(self._info, is_private=True),
            "/config": Endpoint(self._config, is_private=True),
            "/routes": Endpoint(self._first_answer, is_private=True),
            "/migrations": Endpoint(self._first_answer, is_private=True),
            "/tasks": Endpoint(self._every_answer, is_private=True),
            "/traces": Endpoint(self._every_answer, is_private=True),
            "/loggers": Endpoint(self._loggers, is_private=True, methods=methods),
        }

    async def _info(self, _: AdminRequest) -> AdminResponse:
        said = {entry.variable: entry.value for entry in self._settings.active.entries}
        version = said.get("SERVICE_VERSION", _DISTRIBUTION)
        self._dependencies = self._dependencies or await asyncio.to_thread(_dependencies)
        return json_response(
            200,
            {
                "service": said.get("OTEL_SERVICE_NAME", self._service.name),
                "version": self._service.version() if version.startswith(_DISTRIBUTION) else version,
                "revision": said.get("SERVICE_REVISION", "unknown"),
                "environment": said.get("ENVIRONMENT", ""),
                "started_at": self._started_at.isoformat(timespec="seconds").replace("+00:00", "Z"),
                "python": platform.python_version(),
                "platform": platform.platform(),
                "dependencies": self._dependencies,
            },
        )

    def _config(self, _: AdminRequest) -> AdminResponse:
        return json_response(200, {"settings": self._settings.active.entries})

    async def _first_answer(self, asked: AdminRequest) -> AdminResponse:
        """What is the same in every worker: one that answers is enough."""
        told = await self._desks.ask(_name(asked), asked.query)
        if told and all(one.answer.is_unknown for one in told):
            return text_response(404)
        for one in told:
            if one.answer.content is not None:
                return json_response(200, one.answer.content)
        return json_response(503, {"workers": contents(told)})

    async def _every_answer(self, asked: AdminRequest) -> AdminResponse:
        told = await self._desks.ask(_name(asked), asked.query)
        if told and all(one.answer.is_unknown for one in told):
            return text_response(404)
        return json_response(200, {"workers": contents(told)})

    async def _loggers(self, asked: AdminRequest) -> AdminResponse:
        if asked.method == "PUT":
            return await self._set_levels(asked)
        own = self._parts.inquiries().get("loggers")
        if own is None:
            return text_response(404)
        told = await self._desks.ask("loggers")
        return json_response(200, {"main": own({}), "workers": contents(told)})

    async def _set_levels(self, asked: AdminRequest) -> AdminResponse:
        try:
            levels = msgspec.json.decode(asked.body, type=_Levels).levels.strip()
            if len(levels) > _MOST_LEVELS:
                return text_response(413)
            self._levels.set(levels)
        except (msgspec.DecodeError, ValueError) as error:
            return json_response(400, {"error": str(error), "accepted": '{"levels": "info,orders=debug"}'})
        told = await self._desks.ask("set_log_levels", {"levels": levels})
        log.warning("log levels set", levels=levels, by=f"PUT /loggers from {asked.peer}")
        # One that did not answer finds the question when it goes on.
        return json_response(200 if _all_did(told) else 202, {"levels": levels, "workers": contents(told)})


def operator_endpoints(
    service: Service,
    config: ReloadableConfig,
    parts: ProcessHooks,
    directory: Path,
    workers: Callable[[], Iterable[WorkerProcess]],
) -> dict[str, Endpoint]:
    """Put the pages together, and have main's log levels follow the configuration.

    Args:
        service: The service.
        config: Its configuration.
        parts: Of main.
        directory: Main's.
        workers: Tells which workers run.
    """
    active = config.active
    levels = MainLogLevels(parts, LogLevelsFile(directory), configured=active.log_level)

    def follow(active: ConfigSnapshot) -> None:
        meant = next((entry.value for entry in active.entries if entry.variable == VARIABLE), "")
        if meant:
            levels.configure(active.log_level, meant)

    config.on_activated = follow
    pages = OperatorEndpoints(
        service, config, parts=parts, desks=ControlClient(directory, workers), levels=levels
    )
    return pages.endpoints(can_set_levels=active.server.log_level_changes)


def _name(asked: AdminRequest) -> str:
    return asked.path.removeprefix("/")


def _all_did(told: list[WorkerReply]) -> bool:
    return all(one.answer.error is None for one in told)


def _dependencies() -> dict[str, str]:
    """What is installed beside the service, by name."""
    from importlib.metadata import distributions

    found: Mapping[str, Any] = {one.metadata["Name"]: one.version for one in distributions()}
    return {name: str(found[name]) for name in sorted(found, key=str.lower) if name}


class MainStatus:
    """How far main is, and through the board how its workers are."""

    def __init__(self) -> None:
        self._stage: Literal["starting", "migrations", "serving"] = "starting"
        self._scoreboard: Scoreboard | None = None
        self._pool: WorkerPool | None = None

    def migrating(self) -> None:
        """The database is being waited for or migrated."""
        self._stage = "migrations"

    def serving(self, scoreboard: Scoreboard, pool: WorkerPool) -> None:
        """Workers are started."""
        self._scoreboard, self._pool = scoreboard, pool
        self._stage = "serving"

    def workers(self) -> list[WorkerProcess]:
        """Every worker that runs."""
        return [] if self._pool is None else self._pool.all()

    def live(self, _: AdminRequest) -> AdminResponse:
        """Main answers."""
        return _status_response(200, status="live")

    def ready(self, _: AdminRequest) -> AdminResponse:
        """Whether every worker is up, heard of and ready."""
        if self._scoreboard is None or self._pool is None:
            return _status_response(503, status="not ready", reason=self._stage)
        slots = enumerate(self._pool.slots())
        workers = [{"index": index, "status": _status(slot)} for index, slot in slots]
        if self._scoreboard.phase is not Phase.SERVING:
            return _status_response(503, status="draining", reason="stopping", workers=workers)
        if all(worker["status"] == "ready" for worker in workers):
            return _status_response(200, status="ready", workers=workers)
        return _status_response(503, status="not ready", reason="workers", workers=workers)


def _status(slot: WorkerSlot) -> str:
    if not slot.has_been_up:
        return "starting"
    if slot.state is WorkerState.CLOSING:
        return "stopping"
    if slot.silence_s > SILENT_S:
        return "unresponsive"
    return "ready" if slot.is_ready else "not ready"


def _status_response(status_code: int, **content: Any) -> AdminResponse:
    return json_response(status_code, content)
