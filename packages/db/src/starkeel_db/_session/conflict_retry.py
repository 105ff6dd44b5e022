"""Retries requests whose transaction failed with a deadlock or a serialization error."""

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


def attempts_of(opt: Mapping[str, Any]) -> int:
    """Return the maximum number of attempts of a route."""
    found: int = opt.get(_ATTEMPTS, 1)
    return found


async def note_conflict(error: Exception, scope: Scope) -> None:
    """Record in the scope that a request failed with a transaction conflict."""
    if isinstance(error, DatabaseUnavailable) and error.conflict is not None:
        scope["state"][_CONFLICT] = error.conflict


class ConflictLost(Exception):
    """The request must be retried; no part of its response was sent."""


class Attempts:
    """Attempts of one request: replays its body and withholds the error response before a retry.

    Args:
        scope: Scope of the request.
        receive: ASGI `receive` of the request.
        send: ASGI `send` of the request.
        most: Maximum number of attempts.
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
        """Return the messages received by earlier attempts, then new ones."""
        if self._again:
            return self._again.pop(0)
        message = await self._receive()
        if message["type"] == "http.request" and self._left > 1:
            self._received.append(message)
        return message

    async def send(self, message: Message) -> None:
        """Send a message, unless it starts the response to a conflict that can be retried.

        Raises:
            ConflictLost: The request must be retried.
        """
        if message["type"] == "http.response.start" and self._left > 1 and _CONFLICT in self._scope["state"]:
            raise ConflictLost
        await self._send(message)

    async def prepare_next(self) -> None:
        """Restore the initial state of the request and pause for a random time."""
        state: Any = self._scope["state"]
        reason = state[_CONFLICT]
        _retries().labels(reason=reason).inc()
        log.debug("request retried", reason=reason)
        inner = ScopeState.from_scope(self._scope)
        inner.response_started, inner.dependency_cache = False, Empty
        state.clear()
        state.update(self._state)
        self._again = list(self._received)
        self._left -= 1
        await anyio.sleep(self._pause_s())

    def _pause_s(self) -> float:
        pause_s = random.uniform(0, _PAUSE_S)  # noqa: S311 - jitter, to avoid another conflict
        ends_at = self._state.get("deadline")
        return pause_s if ends_at is None else max(0.0, min(pause_s, ends_at - time.monotonic()))


@cache
def _retries() -> "Counter":
    from prometheus_client import Counter

    return Counter(
        "db_unit_of_work_retries_total",
        "Requests retried after a transaction conflict.",
        ["reason"],
    )
