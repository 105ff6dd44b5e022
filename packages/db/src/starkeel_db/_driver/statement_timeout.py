"""No statement outlives its request: the server is told what is left of it."""

import math
import time
from collections.abc import MutableMapping
from typing import Any

from sqlalchemy import Connection, Engine, event
from sqlalchemy.pool import ConnectionPoolEntry

from .autocommit_reads import begin_at_last
from .postgres import IDLE_IN_TRANSACTION_S

_KEY = "starkeel_deadline"
_SHORTEN = (
    "SELECT set_config('statement_timeout', $1, true),"
    " set_config('idle_in_transaction_session_timeout', $2, true)"
)
_IDLE_MS = str(IDLE_IN_TRANSACTION_S * 1000)
_TOLERANCE_S = 0.1
"""Seconds that a timeout in force may exceed what is left before it is set anew: a round trip each."""


class Clock:
    """How long a transaction's statements may take.

    Args:
        ends_at: Monotonic seconds at which the request is over.
        timeout_s: Seconds a statement may take by itself.
        is_in_force: Whether the server knows that already.
    """

    __slots__ = ("_in_force_s", "_timeout_s", "ends_at")

    def __init__(self, ends_at: float, timeout_s: float, *, is_in_force: bool) -> None:
        self.ends_at = ends_at
        self._timeout_s = timeout_s
        self._in_force_s = timeout_s if is_in_force else math.inf

    def due_ms(self) -> int | None:
        """Return the milliseconds that the next statement is to have, where the server does not know them."""
        left_s = min(self._timeout_s, max(0.001, self.ends_at - time.monotonic()))
        in_force_s = self._in_force_s
        if left_s >= in_force_s or in_force_s - left_s <= _TOLERANCE_S < left_s:
            return None
        self._in_force_s = left_s
        return max(1, int(left_s * 1000))


def note_deadline(
    connection: Connection,
    state: MutableMapping[str, Any] | None,
    *,
    timeout_s: float,
    is_in_force: bool = True,
) -> None:
    """Have a transaction that begins know when its request ends.

    Args:
        connection: The transaction's.
        state: The `state` of the request's scope; none outside requests.
        timeout_s: Seconds a statement may take by itself.
        is_in_force: Whether the server holds that by itself; through a pooler it must be told each time.
    """
    ends_at = None if state is None else state.get("deadline")
    if ends_at is None and is_in_force:
        connection.info[_KEY] = None
    else:
        connection.info[_KEY] = Clock(
            math.inf if ends_at is None else ends_at, timeout_s, is_in_force=is_in_force
        )


def hold_to_deadlines(engine: Engine) -> None:
    """Before a statement of a request that ends sooner than the statement may, set what is left."""

    @event.listens_for(engine, "before_cursor_execute")
    def shorten(connection: Connection, *_: Any) -> None:
        clock = connection.info.get(_KEY)
        due_ms = None if clock is None else clock.due_ms()
        if due_ms is None:
            return
        begin_at_last(connection)
        # By the driver's own cursor: it is in the transaction, and no further event is fired.
        cursor = connection.connection.cursor()
        try:
            # One text whatever is left: the driver keeps it prepared.
            cursor.execute(_SHORTEN, (str(due_ms), _IDLE_MS))
        finally:
            cursor.close()

    @event.listens_for(engine, "checkin")
    def forget(_: Any, record: ConnectionPoolEntry) -> None:
        # Whoever has the connection next may be no request.
        record.info.pop(_KEY, None)
