"""Reads what services report about themselves: readiness, metrics, settings, routes and migrations."""

import asyncio
import logging
import time
from http.client import HTTPException
from typing import Any, Final, TypeVar

import msgspec

from .._decode.prometheus import add_exposition
from .._store.store import Store
from .fetch import fetch
from .services import Check, Info, Migrations, Route, Service, Services, Setting, Worker

_READY_S: Final = 2.0
_IDLE_ROUNDS: Final = 5
_METRICS_S: Final = 3.5
_DETAILS_S: Final = 60.0
_FAILURES: Final = (OSError, ValueError, HTTPException, msgspec.MsgspecError)
_NOT_READY: Final = 503

T = TypeVar("T")
log = logging.getLogger(__name__)


class _Readiness(msgspec.Struct):
    status: str = "unknown"
    checks: dict[str, Check] = {}


class _Workers(msgspec.Struct):
    workers: list[Worker] = []


class _Settings(msgspec.Struct):
    settings: list[Setting] = []


class _Routes(msgspec.Struct):
    routes: list[Route] = []


class Poller:
    """Polls every service.

    Args:
        services: Services that are polled, also those that are added later.
        store: Where their metrics are kept.
    """

    def __init__(self, services: Services, store: Store) -> None:
        self._services = services
        self._store = store
        self._read_at: dict[tuple[str, str], float] = {}

    async def run(self) -> None:
        """Poll until it is cancelled."""
        while True:
            await asyncio.gather(*(self._poll(service) for service in self._services))
            await self._pause()

    async def _pause(self) -> None:
        """Wait for the next round: 2 s while a page is open or a service is not ready, else 10 s."""
        for _ in range(_IDLE_ROUNDS):
            await asyncio.sleep(_READY_S)
            is_waiting = any(each.readiness != "ready" and each.exit_code is None for each in self._services)
            if is_waiting or self._store.changes.readers:
                return

    async def _poll(self, service: Service) -> None:
        before = service.readiness, service.info.started_at
        try:
            await self._read(service)
            service.problem = ""
        except _FAILURES as error:
            service.readiness = "unreachable"
            service.problem = f"{type(error).__name__}: {error}"[:300]
            # All is read again once it responds.
            self._read_at.clear()
        except Exception:
            log.exception("response of a service could not be read: %s", service.name)
        if (service.readiness, service.info.started_at) != before:
            self._store.changes.notify()

    async def _read(self, service: Service) -> None:
        address = service.address
        answer = await fetch(f"{address.url}{address.readiness_path}")
        service.readiness = {200: "ready", _NOT_READY: "not ready"}.get(
            answer.status, f"HTTP {answer.status}"
        )
        if answer.headers.get("content-type", "").startswith("application/json"):
            service.checks = msgspec.json.decode(answer.body, type=_Readiness).checks
        if not address.admin_url:
            return
        service.workers = (await self._get(service, "ready", _Workers, _Workers())).workers
        if self._is_due(service, "metrics", _METRICS_S):
            await self._read_metrics(service)
        if self._is_due(service, "details", _DETAILS_S):
            await self._read_details(service)

    def _is_due(self, service: Service, part: str, period_s: float) -> bool:
        now_s, key = time.monotonic(), (service.name, part)
        if now_s - self._read_at.get(key, -period_s) < period_s:
            return False
        self._read_at[key] = now_s
        return True

    async def _read_metrics(self, service: Service) -> None:
        answer = await fetch(f"{service.address.admin_url}/metrics", headers={"Accept": "text/plain"})
        if answer.status == 200:
            add_exposition(
                answer.body.decode(errors="replace"),
                self._store.metrics,
                service=service.name,
                at_s=time.time(),
                # The requests of this poller.
                left_out=frozenset((service.address.readiness_path, service.address.openapi_path)),
            )

    async def _read_details(self, service: Service) -> None:
        service.info = await self._get(service, "info", Info, Info())
        service.settings = (await self._get(service, "config", _Settings, _Settings())).settings
        service.routes = (await self._get(service, "routes", _Routes, _Routes())).routes
        service.migrations = await self._get(service, "migrations", Migrations, None)

    async def _get(self, service: Service, path: str, kind: type[T], missing: Any) -> T:
        """Return a response of the admin port; `missing` if it has no such endpoint."""
        answer = await fetch(f"{service.address.admin_url}/{path}")
        if answer.status not in {200, _NOT_READY}:
            found: T = missing
            return found
        return msgspec.json.decode(answer.body, type=kind)
