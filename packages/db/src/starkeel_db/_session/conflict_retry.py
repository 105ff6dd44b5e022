"""Requests that are executed again when the database chose them to give way to others."""

import random
import time
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import anyio
import structlog
from litestar.types import Message, Receive, Scope, Send
from litestar.types.empty import Empty
from litestar.utils.scope.state import ScopeState

from .._base.errors import DatabaseUnavailable

if TYPE_CHECKING:
    from prometheus_client import Counter

log = structlog.get_logger(__name__)

_ATTEMPTS: Final = "starkeel_db.attempts"
_CONFLICT: Final = "starkeel_db_conflict"
_MOST_ATTEMPTS: Final = 10
_PAUSE_S: Final = 0.02


def repeat_conflicts(attempts: int = 3) -> dict[str, Any]:
    """Have a route executed again when it loses a conflict: a serialization failure, or a deadlock.

    Given as the route's `opt`, joined with others by `|`; for routes that do nothing outside of their unit of
    work which may not happen twice. All of the route runs again, its guards included, in a new unit of work.

    Args:
        attempts: How often it is executed at most, the first time included.

    Raises:
        ValueError: It is not between 2 and 10.
    """
    if not 2 <= attempts <= _MOST_ATTEMPTS:
        raise ValueError(f"a request is attempted 2 to {_MOST_ATTEMPTS} times, not {attempts}")
    return {_ATTEMPTS: attempts}


def attempts_of(opt: Mapping[str, Any]) -> int:
    """Return how often a route may be executed."""
    found: int = opt.get(_ATTEMPTS, 1)
    return found


async def note_conflict(error: Exception, scope: Scope) -> None:
    """Remember that it was a conflict by which a request failed."""
    if isinstance(error, DatabaseUnavailable) and error.conflict is not None:
        scope["state"][_CONFLICT] = error.conflict


class ConflictLost(Exception):
    """A request is to be executed again: nothing of its answer was sent."""


class Attempts:
    """One request, and what it takes to execute it again.

    Args:
        scope: The request's.
        receive: Where its body comes from.
        send: Where its answer goes.
        most: How often it may be executed.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send, *, most: int) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._left = most
        self._state = dict(scope["state"])
        self._received: list[Any] = []
        self._again: list[Any] = []

    async def receive(self) -> Any:
        """Receive what was received before, then what comes."""
        if self._again:
            return self._again.pop(0)
        message = await self._receive()
        if message["type"] == "http.request" and self._left > 1:
            self._received.append(message)
        return message

    async def send(self, message: Message) -> None:
        """Send, unless it is an answer that another attempt may better.

        Raises:
            ConflictLost: There is one.
        """
        if message["type"] == "http.response.start" and self._left > 1 and _CONFLICT in self._scope["state"]:
            raise ConflictLost
        await self._send(message)

    async def prepare_next(self) -> None:
        """Put the request back to what it was, and let the others pass."""
        state: Any = self._scope["state"]
        reason = state[_CONFLICT]
        _retries().labels(reason=reason).inc()
        log.debug("request executed again", reason=reason)
        inner = ScopeState.from_scope(self._scope)
        inner.response_started, inner.dependency_cache = False, Empty
        state.clear()
        state.update(self._state)
        self._again = list(self._received)
        self._left -= 1
        await anyio.sleep(self._pause_s())

    def _pause_s(self) -> float:
        pause_s = random.uniform(0, _PAUSE_S)  # noqa: S311 - those who collided shall not come at once again
        ends_at = self._state.get("deadline")
        return pause_s if ends_at is None else max(0.0, min(pause_s, ends_at - time.monotonic()))


@cache
def _retries() -> "Counter":
    from prometheus_client import Counter

    return Counter(
        "db_unit_of_work_retries_total",
        "Requests executed again after a conflict in the database.",
        ["reason"],
    )
