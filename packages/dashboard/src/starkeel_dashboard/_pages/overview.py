"""Services with their state and their requests."""

import time
from datetime import datetime
from typing import Any

import msgspec

from .._sources.services import Service, Services
from .._store.requests import Activity
from .._store.store import Sign, Store
from .render import milliseconds


class ServiceRow(msgspec.Struct):
    """A service, one that was named or one that has sent telemetry."""

    name: str
    state: str
    requests: Activity
    sign: Sign | None
    service: Service | None
    now_s: float
    figures: list[tuple[str, str]] = []
    """Name and value of what its process uses."""

    @property
    def uptime_s(self) -> float | None:
        """Return the seconds since its start; `None` if it is not known."""
        started_at = self.service.info.started_at if self.service else ""
        try:
            return max(0.0, self.now_s - datetime.fromisoformat(started_at).timestamp())
        except ValueError:
            return None

    @property
    def failing(self) -> list[str]:
        """Return the names of the checks that fail."""
        checks = self.service.checks if self.service else {}
        return [name for name, check in checks.items() if check.status != "ok"]


def service_rows(store: Store, services: Services) -> list[ServiceRow]:
    """Return all services, those that were named first."""
    now_s = time.time()
    named = list(services)
    names = [service.name for service in named]
    rows = [
        ServiceRow(
            service.name,
            service.state,
            store.requests.service(service.name),
            store.signs.get(service.name),
            service,
            now_s,
            _figures(store, service.name),
        )
        for service in named
    ]
    rows += [
        ServiceRow(name, "sends telemetry", store.requests.service(name), sign, None, now_s)
        for name, sign in sorted(store.signs.items())
        if name not in names
    ]
    return rows


def _figures(store: Store, name: str) -> list[tuple[str, str]]:
    """Return memory, connections and lag of the event loop, as far as a service exposes them."""
    metrics, figures = store.metrics, []
    if (used := metrics.value(name, "process_resident_memory_bytes")) is not None:
        figures.append(("memory", f"{used / 2**20:.0f} MiB"))
    if (highest := metrics.value(name, "db_client_connection_max")) is not None:
        busy = metrics.value(name, "db_client_connection_count", state="used") or 0
        figures.append(("pool", f"{busy:.0f} of {highest:.0f}"))
    if (lag := metrics.quantile(name, "starkeel_event_loop_lag_seconds")) is not None:
        figures.append(("loop lag p99", milliseconds(lag * 1000)))
    return figures


def service_names(store: Store, services: Services) -> list[str]:
    """Return the names of all services."""
    return list(dict.fromkeys([*(service.name for service in services), *sorted(store.signs)]))


def services_page(store: Store, services: Services) -> dict[str, Any]:
    """Return the values of the page."""
    return {"rows": service_rows(store, services), "store": store}


def status_rows(store: Store, services: Services) -> list[dict[str, Any]]:
    """Return the services as JSON for a terminal."""
    return [
        {
            "name": row.name,
            "state": row.state,
            "url": row.service.address.url if row.service else "",
            "pid": row.service.pid if row.service else None,
            "checks": {name: check.status for name, check in row.service.checks.items()}
            if row.service
            else {},
            "uptime_s": row.uptime_s,
            "requests_per_second": row.requests.per_second(row.now_s),
            "error_ratio": row.requests.error_ratio(row.now_s),
            "quantiles_ms": row.requests.quantiles_ms(),
            "last_error": row.sign.error if row.sign else "",
        }
        for row in service_rows(store, services)
    ]
