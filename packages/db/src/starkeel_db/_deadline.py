"""No statement outlives its request: the server is told what is left of it."""

import time
from collections.abc import MutableMapping
from typing import Any

from sqlalchemy import Connection, Engine, event
from sqlalchemy.pool import ConnectionPoolEntry

from ._plain_reads import begin_at_last

_KEY = "starkeel_deadline"
_SHORTEN = "SELECT set_config('statement_timeout', $1, true)"
_TOLERANCE_S = 0.1
"""Seconds that a timeout in force may exceed what is left before it is set anew: a round trip each."""


class Clock:
    """How long a transaction's statements may take.

    Args:
        ends_at: Monotonic seconds at which the request is over.
        in_force_s: Seconds a statement may take as the server knows it.
    """

    __slots__ = ("ends_at", "in_force_s")

    def __init__(self, ends_at: float, in_force_s: float) -> None:
        self.ends_at = ends_at
        self.in_force_s = in_force_s


def note_deadline(
    connection: Connection, state: MutableMapping[str, Any] | None, *, timeout_s: float
) -> None:
    """Have a transaction that begins know when its request ends.

    Args:
        connection: The transaction's.
        state: The `state` of the request's scope; none outside requests.
        timeout_s: Seconds a statement may take by itself.
    """
    ends_at = None if state is None else state.get("deadline")
    connection.info[_KEY] = None if ends_at is None else Clock(ends_at, timeout_s)


def hold_to_deadlines(engine: Engine) -> None:
    """Before a statement of a request that ends sooner than the statement may, set what is left."""

    @event.listens_for(engine, "before_cursor_execute")
    def shorten(connection: Connection, *_: Any) -> None:
        clock = connection.info.get(_KEY)
        if clock is None:
            return
        left_s = max(0.001, clock.ends_at - time.monotonic())
        if left_s >= clock.in_force_s or clock.in_force_s - left_s <= _TOLERANCE_S < left_s:
            return
        clock.in_force_s = left_s
        begin_at_last(connection)
        # By the driver's own cursor: it is in the transaction, and no further event is fired.
        cursor = connection.connection.cursor()
        try:
            # One text whatever is left: the driver keeps it prepared.
            cursor.execute(_SHORTEN, (str(max(1, int(left_s * 1000))),))
        finally:
            cursor.close()

    @event.listens_for(engine, "checkin")
    def forget(_: Any, record: ConnectionPoolEntry) -> None:
        # Whoever has the connection next may be no request.
        record.info.pop(_KEY, None)
