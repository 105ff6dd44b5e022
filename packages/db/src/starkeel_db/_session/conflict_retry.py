"""Retries requests whose transaction failed with a deadlock or a serialization error."""

import random
import time
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import anyio
import structlog
from litestar.enums import ScopeType
from litestar.handlers import HTTPRouteHandler
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Receive, Scope, Send
from starkeel_asgi import GateOrder, HttpExchange, Response, current

from .._base.errors import DatabaseUnavailable

if TYPE_CHECKING:
    from prometheus_client import Counter

log = structlog.get_logger(__name__)

_ATTEMPTS: Final = "starkeel_db.attempts"
_CONFLICT: Final = "starkeel_db_conflict"
_MOST_ATTEMPTS: Final = 10
_PAUSE_S: Final = 0.02


def repeat_conflicts(attempts: int = 3) -> dict[str, Any]:
    """Return an `opt` that retries a route after a deadlock or a serialization failure.

    Combine it with other options with `|`. The whole route runs again in a new unit of work, including guards
    and dependencies, so its side effects outside of the unit of work must be safe to repeat.

    Args:
        attempts: Maximum number of attempts, including the first one.

    Raises:
        ValueError: `attempts` is not between 2 and 10.
    """
    if not 2 <= attempts <= _MOST_ATTEMPTS:
        raise ValueError(f"a request is attempted 2 to {_MOST_ATTEMPTS} times, not {attempts}")
    return {_ATTEMPTS: attempts}


def add_retries(handler: HTTPRouteHandler) -> None:
    """Add the retries of a route with `repeat_conflicts`."""
    present = handler.middleware or ()
    if _ATTEMPTS in handler.opt and not any(isinstance(middleware, ConflictRetry) for middleware in present):
        handler.middleware = [*present, ConflictRetry(handler.opt[_ATTEMPTS])]


async def note_conflict(error: Exception, scope: Scope) -> None:
    """Record in the scope that a request failed with a transaction conflict."""
    if isinstance(error, DatabaseUnavailable) and error.conflict is not None:
        scope["state"][_CONFLICT] = error.conflict


class ConflictLost(Exception):
    """The request is to be executed again; nothing of its response was sent."""


class ConflictRetry(ASGIMiddleware):
    """Executes a route again when it lost a conflict.

    Args:
        attempts: Number of executions at most, the first included.
    """

    scopes = (ScopeType.HTTP,)

    def __init__(self, attempts: int) -> None:
        self._attempts = attempts

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """Serve one request."""
        exchange = current(scope)
        assert isinstance(exchange, HttpExchange)
        state: Any = scope["state"]
        before = dict(state)
        left = self._attempts

        async def check_conflict(_: Response) -> None:
            if left > 1 and _CONFLICT in state:
                raise ConflictLost

        exchange.add_gate(check_conflict, GateOrder.VERIFY)
        exchange.keep_body()
        while True:
            try:
                await next_app(scope, receive, send)
            except ConflictLost:
                left -= 1
                _count_retry(state[_CONFLICT])
                await exchange.restart()
                state.clear()
                state.update(before)
                await anyio.sleep(_pause_s(before.get("deadline")))
            else:
                return


def _count_retry(reason: str) -> None:
    _retries().labels(reason=reason).inc()
    log.debug("request retried", reason=reason)


def _pause_s(ends_at: float | None) -> float:
    # Random: requests that collided must not collide again.
    pause_s = random.uniform(0, _PAUSE_S)  # noqa: S311
    return pause_s if ends_at is None else max(0.0, min(pause_s, ends_at - time.monotonic()))


@cache
def _retries() -> "Counter":
    from prometheus_client import Counter

    return Counter(
        "db_unit_of_work_retries_total",
        "Requests retried after a transaction conflict.",
        ["reason"],
    )
