"""Rates such as `10/minute`."""

import re
from dataclasses import dataclass
from typing import ClassVar, Final, Self, final

_SECONDS: Final = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}
_RATE: Final = re.compile(r"([0-9]{1,5}) ?/ ?(?:([0-9]{1,5}) ?)?(second|minute|hour|day)s?")
_MAX_AMOUNT: Final = 10_000
_MAX_WINDOW_S: Final = 31 * 86400


@final
@dataclass(frozen=True, slots=True)
class Rate:
    """Number of requests allowed in a moving window.

    Args:
        amount: Requests per window.
        window_s: Seconds of the window.
    """

    accepts: ClassVar[str] = (
        "a number of requests per time: 10/minute, 100/hour or 5/10 seconds, at most 10000 in 31 days"
    )

    amount: int
    window_s: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse `10/minute`, `100/hour`, `5/10 seconds`.

        Raises:
            ValueError: The text is not a rate, or out of range.
        """
        found = _RATE.fullmatch(text.strip().lower())
        if found is None:
            raise ValueError
        amount, count, unit = found.groups()
        rate = cls(int(amount), int(count or 1) * _SECONDS[unit])
        if rate.amount == 0:
            raise ValueError("allows no request")
        if not 0 < rate.window_s <= _MAX_WINDOW_S or rate.amount > _MAX_AMOUNT:
            raise ValueError("is out of range")
        return rate

    def shared_by(self, workers: int, *, round_up: bool = False) -> "Rate":
        """Return the share of one of several workers that count separately; at least one request."""
        share = -(-self.amount // workers) if round_up else self.amount // workers
        return Rate(max(1, share), self.window_s)

    def __str__(self) -> str:
        unit, seconds = next((u, s) for u, s in reversed(_SECONDS.items()) if self.window_s % s == 0)
        count = self.window_s // seconds
        return f"{self.amount}/{unit}" if count == 1 else f"{self.amount}/{count} {unit}s"
