"""The admin port's pages for operators: JSON, for those on this machine only."""

import asyncio
import platform
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog

from ._admin import Asked, Offer, Page, json_page, plain
from ._asking import Desks, Told, contents
from ._configuration import Configuration
from ._handover import Handover
from ._levels import VARIABLE, LevelsFile, MainLevels
from ._parts import Parts
from ._service import Service
from ._workers import Worker

log = structlog.get_logger(__name__)

_DISTRIBUTION: Final = "distribution:"
_MOST_LEVELS: Final = 4096


class _Levels(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    levels: str


class Pages:
    """What an operator can ask a running service.

    Args:
        service: The service.
        configuration: Its configuration.
        parts: Of main.
        desks: Of the workers.
        levels: Main's log levels.
    """

    def __init__(
        self,
        service: Service,
        configuration: Configuration,
        *,
        parts: Parts,
        desks: Desks,
        levels: MainLevels,
    ) -> None:
        self._service = service
        self._configuration = configuration
        self._parts = parts
        self._desks = desks
        self._levels = levels
        self._started_at = datetime.now(UTC)
        self._dependencies: dict[str, str] = {}

    def offers(self, *, can_set_levels: bool) -> dict[str, Offer]:
        """The pages, by path.

        Args:
            can_set_levels: Whether log levels may be changed.
        """
        methods = frozenset({"GET", "HEAD", "PUT"} if can_set_levels else {"GET", "HEAD"})
        return {
            "/info": Offer(self._info, is_private=True),
            "/config": Offer(self._config, is_private=True),
            "/routes": Offer(self._first_answer, is_private=True),
            "/migrations": Offer(self._first_answer, is_private=True),
            "/tasks": Offer(self._every_answer, is_private=True),
            "/traces": Offer(self._every_answer, is_private=True),
            "/loggers": Offer(self._loggers, is_private=True, methods=methods),
        }

    async def _info(self, _: Asked) -> Page:
        said = {entry.variable: entry.value for entry in self._configuration.proven.entries}
        version = said.get("SERVICE_VERSION", _DISTRIBUTION)
        self._dependencies = self._dependencies or await asyncio.to_thread(_dependencies)
        return json_page(
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

    def _config(self, _: Asked) -> Page:
        return json_page(200, {"settings": self._configuration.proven.entries})

    async def _first_answer(self, asked: Asked) -> Page:
        """What is the same in every worker: one that answers is enough."""
        told = await self._desks.ask(_name(asked), asked.query)
        if told and all(one.answer.is_unknown for one in told):
            return plain(404)
        for one in told:
            if one.answer.content is not None:
                return json_page(200, one.answer.content)
        return json_page(503, {"workers": contents(told)})

    async def _every_answer(self, asked: Asked) -> Page:
        told = await self._desks.ask(_name(asked), asked.query)
        if told and all(one.answer.is_unknown for one in told):
            return plain(404)
        return json_page(200, {"workers": contents(told)})

    async def _loggers(self, asked: Asked) -> Page:
        if asked.method == "PUT":
            return await self._set_levels(asked)
        own = self._parts.inquiries().get("loggers")
        if own is None:
            return plain(404)
        told = await self._desks.ask("loggers")
        return json_page(200, {"main": own({}), "workers": contents(told)})

    async def _set_levels(self, asked: Asked) -> Page:
        try:
            levels = msgspec.json.decode(asked.body, type=_Levels).levels.strip()
            if len(levels) > _MOST_LEVELS:
                return plain(413)
            self._levels.set(levels)
        except (msgspec.DecodeError, ValueError) as error:
            return json_page(400, {"error": str(error), "accepted": '{"levels": "info,orders=debug"}'})
        told = await self._desks.ask("set_log_levels", {"levels": levels})
        log.warning("log levels set", levels=levels, by=f"PUT /loggers from {asked.peer}")
        # One that did not answer finds the question when it goes on.
        return json_page(200 if _all_did(told) else 202, {"levels": levels, "workers": contents(told)})


def operator_pages(
    service: Service,
    configuration: Configuration,
    parts: Parts,
    directory: Path,
    workers: Callable[[], Iterable[Worker]],
) -> dict[str, Offer]:
    """Put the pages together, and have main's log levels follow the configuration.

    Args:
        service: The service.
        configuration: Its configuration.
        parts: Of main.
        directory: Main's.
        workers: Tells which workers run.
    """
    proven = configuration.proven
    levels = MainLevels(parts, LevelsFile(directory), configured=proven.log_level)

    def follow(proven: Handover) -> None:
        meant = next((entry.value for entry in proven.entries if entry.variable == VARIABLE), "")
        if meant:
            levels.configure(proven.log_level, meant)

    configuration.on_proven = follow
    pages = Pages(service, configuration, parts=parts, desks=Desks(directory, workers), levels=levels)
    return pages.offers(can_set_levels=proven.server.log_level_changes)


def _name(asked: Asked) -> str:
    return asked.path.removeprefix("/")


def _all_did(told: list[Told]) -> bool:
    return all(one.answer.error is None for one in told)


def _dependencies() -> dict[str, str]:
    """What is installed beside the service, by name."""
    from importlib.metadata import distributions

    found: Mapping[str, Any] = {one.metadata["Name"]: one.version for one in distributions()}
    return {name: str(found[name]) for name in sorted(found, key=str.lower) if name}
