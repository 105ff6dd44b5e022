"""Keys of `[drill]` with which `just trial` drills the services of the registry."""

import sys
import tomllib
from collections.abc import Mapping
from typing import Any

from ..registry import ROOT, Service
from .controlled_database import ControlledDatabase
from .disturbed import ENDLESS_PATH, ERROR_PATH, SLOW_PATH

_REQUEST_TIMEOUT_S = 4
_SLOW_CLIENT_S = 6
_START_S = 90
"""As of the running fleet; a busy machine takes long."""
_TIMES = {
    "DRAIN_DELAY_SECONDS": "1",
    "REQUEST_TIMEOUT_SECONDS": str(_REQUEST_TIMEOUT_S),
    "HEAD_READ_TIMEOUT_SECONDS": "2",
    "BODY_READ_TIMEOUT_SECONDS": "2",
}
"""Shorter times than in production, as the trial waits for each."""
_SURROUNDINGS = {
    "LOG_FORMAT": "json",
    "HOST": "127.0.0.1",
    "METRICS_HOST": "127.0.0.1",
    # The drill sends what another service would.
    "INTERNAL_NETWORKS": "127.0.0.0/8",
}
_ROWS_BY_KEY = {
    "stream_path": ["lifecycle-event-stream"],
    "websocket_path": ["lifecycle-websocket"],
    "limited_path": ["edge-rate-limit", "edge-rate-limit-evasion"],
    "required_variable": ["config-missing-variable"],
    "database_stop": [
        "lifecycle-boot-without-database",
        "health-liveness-without-database",
        "health-readiness-with-database",
        "data-outage-status",
        "data-outage-recovery",
    ],
}


def drill_keys(
    service: Service, environ: Mapping[str, str], database: ControlledDatabase, *, database_url: str
) -> dict[str, Any]:
    """Return the keys for a service.

    Args:
        service: The service.
        environ: Its environment; instances of the drill have plain HTTP.
        database: Its database, if it has one.
        database_url: URL of it.
    """
    env = {name: value for name, value in environ.items() if not name.startswith("TLS_")} | _TIMES
    keys: dict[str, Any] = {
        "command": [sys.executable, "-m", "tools.trial.disturbed", service.name],
        "slow_path": SLOW_PATH,
        "endless_path": ENDLESS_PATH,
        "error_path": ERROR_PATH,
        "request_timeout_s": _REQUEST_TIMEOUT_S,
        "slow_client_s": _SLOW_CLIENT_S,
        "start_s": _START_S,
        "env": env | _SURROUNDINGS,
    }
    if environ.get("ENVIRONMENT") == "production":
        keys["required_variable"] = "JWT_ISSUER"
    if "database" in service.needs:
        env = {**keys["env"], "DATABASE_URL": database_url}
        keys |= {
            "env": env,
            "database_stop": database.command("stop"),
            "database_start": database.command("start"),
            "boot_without_database": "waits",
        }
    return keys


def rows_without_subject(name: str, keys: Mapping[str, Any]) -> list[str]:
    """Return the rows about what a service does not have, such as event streams.

    Args:
        name: The service, whose seatrial.toml has what it has.
        keys: Its keys of `[drill]` from here.
    """
    file = ROOT / "services" / name / "seatrial.toml"
    own = tomllib.loads(file.read_text("utf-8")).get("drill", {}) if file.exists() else {}
    return rows_for_absent({**own, **keys})


def rows_for_absent(keys: Mapping[str, Any]) -> list[str]:
    """Return the rows that need keys of `[drill]` which are not set."""
    return [row for key, rows in _ROWS_BY_KEY.items() if key not in keys for row in rows]
