"""Endpoints of the admin port: metrics, and JSON for operators on the same machine."""

import asyncio
import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from html import escape
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog

from .._config.service import Service
from .._control.log_levels import MainLogLevels
from .._control.process_hooks import ProcessHooks
from .._supervisor.config_reload import ReloadableConfig
from .control_client import ControlClient, Replies
from .http_server import AdminRequest, AdminResponse, Endpoint, json_response, text_response

log = structlog.get_logger(__name__)

_DISTRIBUTION: Final = "distribution:"
_MAX_LEVELS_LENGTH: Final = 4096


class _Levels(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    levels: str


def metrics_endpoint(directory: Path, collectors: Iterable[Any]) -> Endpoint:
    """Return the endpoint of the metrics files of all processes, and of collectors of this process.

    It responds with OpenMetrics if the client accepts it.
    """
    from prometheus_client import CollectorRegistry
    from prometheus_client.exposition import choose_encoder

    from .._metrics.shared_values import ExemplarCollector

    registry = CollectorRegistry()
    for collector in (ExemplarCollector(directory), *collectors):
        registry.register(collector)

    def metrics(request: AdminRequest) -> AdminResponse:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return AdminResponse(200, content_type, encode(registry))

    return Endpoint(metrics, "metrics for Prometheus")


def index_endpoint(endpoints: Mapping[str, Endpoint]) -> Endpoint:
    """Return the endpoint that lists the others, as a page with links."""
    rows = "".join(
        f'<li><a href="{path}">{path}</a> {escape(endpoint.title)}'
        f"{' (only on this machine)' if endpoint.is_private else ''}</li>\n"
        for path, endpoint in sorted(endpoints.items())
    )
    page = f'<!doctype html>\n<html lang="en"><title>Admin port</title>\n<ul>\n{rows}</ul>\n</html>\n'
    response = AdminResponse(200, "text/html; charset=utf-8", page.encode())
    return Endpoint(lambda _: response, "this list", is_private=True)


@dataclass(frozen=True, kw_only=True)
class OperatorEndpoints:
    """JSON endpoints for operators on the same machine."""

    service: Service
    config: ReloadableConfig
    hooks: ProcessHooks
    workers: ControlClient
    levels: MainLogLevels
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def by_path(self) -> dict[str, Endpoint]:
        can_set_levels = self.config.active.server.log_level_changes
        methods = frozenset({"GET", "HEAD", "PUT"} if can_set_levels else {"GET", "HEAD"})
        return {
            "/info": Endpoint(self._get_info, "version, environment and packages", is_private=True),
            "/config": Endpoint(self._get_config, "effective settings and their sources", is_private=True),
            "/routes": Endpoint(self._forward_to_any, "routes of the application", is_private=True),
            "/migrations": Endpoint(self._forward_to_any, "migrations, applied and pending", is_private=True),
            "/tasks": Endpoint(self._forward_to_all, "stacks of the workers' tasks", is_private=True),
            "/traces": Endpoint(
                self._forward_to_all, "traces of the last minute, in development", is_private=True
            ),
            "/loggers": Endpoint(
                self._loggers, "log levels; PUT sets them", is_private=True, methods=methods
            ),
        }

    async def _get_info(self, _: AdminRequest) -> AdminResponse:
        settings = {entry.variable: entry.value for entry in self.config.active.entries}
        version = settings.get("SERVICE_VERSION", _DISTRIBUTION)
        return json_response(
            200,
            {
                "service": settings.get("OTEL_SERVICE_NAME", self.service.name),
                "version": self.service.version() if version.startswith(_DISTRIBUTION) else version,
                "revision": settings.get("SERVICE_REVISION", "unknown"),
                "environment": settings.get("ENVIRONMENT", ""),
                "started_at": self.started_at.isoformat(timespec="seconds").replace("+00:00", "Z"),
                "python": platform.python_version(),
                "platform": platform.platform(),
                "dependencies": await asyncio.to_thread(_installed_distributions),
            },
        )

    def _get_config(self, _: AdminRequest) -> AdminResponse:
        return json_response(200, {"settings": self.config.active.entries})

    async def _forward_to_any(self, request: AdminRequest) -> AdminResponse:
        """Return the response of one worker, for content that is the same in all of them."""
        replies = await self._forward(request)
        for _, response in replies:
            if response.content is not None:
                return json_response(200, response.content)
        return _respond(replies, status=503)

    async def _forward_to_all(self, request: AdminRequest) -> AdminResponse:
        return _respond(await self._forward(request), status=200)

    async def _forward(self, request: AdminRequest) -> Replies:
        return await self.workers.call(request.path.removeprefix("/"), request.query)

    async def _loggers(self, request: AdminRequest) -> AdminResponse:
        if request.method == "PUT":
            return await self._set_levels(request)
        handler = self.hooks.inquiries().get("loggers")
        if handler is None:
            return text_response(404)
        replies = await self.workers.call("loggers")
        return json_response(200, {"main": handler({}), "workers": _render(replies)})

    async def _set_levels(self, request: AdminRequest) -> AdminResponse:
        try:
            levels = msgspec.json.decode(request.body, type=_Levels).levels.strip()
            if len(levels) > _MAX_LEVELS_LENGTH:
                return text_response(413)
            self.levels.set(levels)
        except (msgspec.DecodeError, ValueError) as error:
            return json_response(400, {"error": str(error), "accepted": '{"levels": "info,orders=debug"}'})
        replies = await self.workers.call("set_log_levels", {"levels": levels})
        log.warning("log levels set", levels=levels, by=f"PUT /loggers from {request.peer}")
        # 202: a worker that did not respond handles the request later.
        all_set = all(response.error is None for _, response in replies)
        return json_response(200 if all_set else 202, {"levels": levels, "workers": _render(replies)})


def _respond(replies: Replies, *, status: int) -> AdminResponse:
    """Return all replies, or 404 if no worker has a handler."""
    if replies and all(response.is_unknown for _, response in replies):
        return text_response(404)
    return json_response(status, {"workers": _render(replies)})


def _render(replies: Replies) -> list[dict[str, Any]]:
    """Return the content or the error of each worker, with its index and pid."""
    return [
        {"index": worker.index, "worker_pid": worker.pid}
        | (response.content or {} if response.error is None else {"error": response.error})
        for worker, response in replies
    ]


@cache
def _installed_distributions() -> dict[str, str]:
    """Return the versions of all installed distributions, sorted by name."""
    from importlib.metadata import distributions

    named = {found.metadata["Name"]: str(found.version) for found in distributions()}
    return {name: named[name] for name in sorted(filter(None, named), key=str.lower)}
