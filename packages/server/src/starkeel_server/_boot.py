"""What is done before the application's port is bound: waiting for the database, and migrating it."""

import os
import platform
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import structlog
from starkeel_config import Resolved, ServiceSettings

from ._service import Service

if TYPE_CHECKING:
    from ._hooks import Hooks

log = structlog.get_logger(__name__)

Say = Callable[..., Any]
"""Says a line, given its message and fields."""


def report_start(service: Service, resolved: Resolved[ServiceSettings]) -> None:
    """Say what starts, and what in its configuration looks wrong."""
    log.info(
        "starting application",
        service=service.name,
        version=service.version(),
        environment=resolved.settings.environment,
        pid=os.getpid(),
        python=platform.python_version(),
    )
    for warning in resolved.warnings:
        log.warning("configuration looks wrong", problem=warning)


def report_features(hooks: "Hooks", say: Say) -> None:
    """Say what of the application is on and what is off, and why."""
    features = list(hooks.features())
    on = [f"{name} ({why})" for name, is_on, why in features if is_on]
    off = [f"{name} ({why})" for name, is_on, why in features if not is_on]
    say("features", on=on, off=off)


async def prepare(hooks: "Hooks", say: Say, *, at_start: bool) -> None:
    """Wait for the database and migrate it; may be cancelled.

    Args:
        hooks: Of the application.
        say: Told how far it is.
        at_start: Whether it is a part of the start.

    Raises:
        StartError: When the database stays away or cannot be migrated.
    """
    if await hooks.connect():
        say("database connected")
    applied = await hooks.migrate(at_start=at_start)
    if applied is not None:
        say("migrations complete", applied=applied)
