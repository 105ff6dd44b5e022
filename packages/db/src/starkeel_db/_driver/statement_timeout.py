"""Statement timeouts: the server ends a statement when the time of its request is over."""

import math
import time
from collections.abc import MutableMapping
from typing import Any

from sqlalchemy import Connection, Engine, event
from sqlalchemy.pool import ConnectionPoolEntry

_IDLE_IN_TRANSACTION_S = 60
"""Seconds after which the server ends an idle transaction and frees its locks; longer than any request."""
_KEY = "starkeel_deadline"
_SHORTEN = (
    "SELECT set_config('statement_timeout', $1, true),"
    " set_config('idle_in_transaction_session_timeout', $2, true)"
)
_IDLE_MS = str(_IDLE_IN_TRANSACTION_S * 1000)
_TOLERANCE_S = 0.1
"""Seconds by which the current timeout may exceed the remaining time; setting it costs a round trip."""


def session_settings(statement_timeout_s: float) -> dict[str, str]:
    """Return the session parameters that limit the statements and transactions of requests."""
    return {
        "statement_timeout": str(max(1, round(statement_timeout_s * 1000))),
        "idle_in_transaction_session_timeout": _IDLE_MS,
    }


class StatementTimeout:
    """Statement timeout of one transaction.

    Args:
        ends_at: Monotonic seconds at which the request's time is over.
        timeout_s: Upper limit in seconds.
        is_session_default: Whether `timeout_s` is the session's setting.
    """

    __slots__ = ("_current_s", "_timeout_s", "ends_at")

    def __init__(self, ends_at: float, timeout_s: float, *, is_session_default: bool) -> None:
        self.ends_at = ends_at
        self._timeout_s = timeout_s
        self._current_s = timeout_s if is_session_default else math.inf

    def due_ms(self) -> int | None:
        """Return the timeout to set before the next statement, in milliseconds; None to keep the current."""
        left_s = min(self._timeout_s, max(0.001, self.ends_at - time.monotonic()))
        current_s = self._current_s
        if left_s >= current_s or current_s - left_s <= _TOLERANCE_S < left_s:
            return None
        self._current_s = left_s
        return max(1, int(left_s * 1000))


def is_shortened(state: MutableMapping[str, Any] | None, timeout_s: float) -> bool:
    """Return whether a request, given the `state` of its scope, has less time left than `timeout_s`."""
    ends_at = None if state is None else state.get("deadline")
    return ends_at is not None and ends_at - time.monotonic() < timeout_s - _TOLERANCE_S


def set_deadline(
    connection: Connection,
    state: MutableMapping[str, Any] | None,
    *,
    timeout_s: float,
    is_session_default: bool = True,
) -> None:
    """Apply the deadline of a request to the transaction that begins on a connection.

    Args:
        connection: Connection of the transaction.
        state: `state` of the request's scope, or None outside of requests.
        timeout_s: Statement timeout in seconds.
        is_session_default: Whether `timeout_s` is the session's setting; it is not behind a pooler.
    """
    ends_at = None if state is None else state.get("deadline")
    if ends_at is None and is_session_default:
        connection.info[_KEY] = None
    else:
        connection.info[_KEY] = StatementTimeout(
            math.inf if ends_at is None else ends_at, timeout_s, is_session_default=is_session_default
        )


def enforce_deadlines(engine: Engine) -> None:
    """Shorten the statement timeout before a statement of a request that has less time left."""

    @event.listens_for(engine, "before_cursor_execute")
    def shorten(connection: Connection, *_: Any) -> None:
        timeout = connection.info.get(_KEY)
        due_ms = None if timeout is None else timeout.due_ms()
        if due_ms is None:
            return
        # A cursor of the driver runs in the same transaction, but emits no further events.
        cursor = connection.connection.cursor()
        try:
            # Values are parameters, so that the driver can keep the statement prepared.
            cursor.execute(_SHORTEN, (str(due_ms), _IDLE_MS))
        finally:
            cursor.close()

    @event.listens_for(engine, "checkin")
    def forget(_: Any, record: ConnectionPoolEntry) -> None:
        # The next checkout may not belong to a request.
        record.info.pop(_KEY, None)
