"""Bounds of the memory and of what is accepted in a second."""

from typing import Annotated

import msgspec

_Bytes = Annotated[int, msgspec.Meta(ge=1024 * 1024, le=64 * 1024**3)]
_Count = Annotated[int, msgspec.Meta(ge=1, le=10_000_000)]


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Amounts that are kept and accepted; the oldest is removed first."""

    span_bytes: _Bytes = 24 * 1024 * 1024
    """Bytes of spans that are kept."""

    log_bytes: _Bytes = 12 * 1024 * 1024
    """Bytes of log records that are kept."""

    series: _Count = 2000
    """Series of metrics that are kept; further ones are dropped and counted."""

    records_per_s: _Count = 20_000
    """Spans, and log records, that are accepted in a second; further ones are dropped and counted."""

    body_bytes: _Bytes = 32 * 1024 * 1024
    """Bytes of a request's body, after decompression."""

    pending_bytes: _Bytes = 64 * 1024 * 1024
    """Bytes of all bodies that are being received; further requests get 503."""


class Allowance:
    """Number of records that are accepted in a second.

    Args:
        per_s: Records in each second.
    """

    def __init__(self, per_s: int) -> None:
        self._per_s = per_s
        self._second = -1
        self._used = 0

    def take(self, count: int, *, at_s: float) -> int:
        """Return how many of some records are accepted.

        Args:
            count: Number of records.
            at_s: Monotonic time in seconds.
        """
        if int(at_s) != self._second:
            self._second, self._used = int(at_s), 0
        accepted = min(count, self._per_s - self._used)
        self._used += accepted
        return accepted
