"""How often something is allowed."""

import re
from dataclasses import dataclass
from typing import ClassVar, Final, Self, final

_SECONDS: Final = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}
_RATE: Final = re.compile(r"([0-9]{1,5}) ?/ ?(?:([0-9]{1,5}) ?)?(second|minute|hour|day)s?")
_MOST = 10_000
_LONGEST_S = 31 * 86400


@final
@dataclass(frozen=True, slots=True)
class Rate:
    """So many times within a window that moves with the clock.

    Args:
        amount: How often.
        window_s: Seconds of the window.
    """

    accepts: ClassVar[str] = (
        "how often in how long: 10/minute, 100/hour or 5/10 seconds, at most 10000 in 31 days"
    )

    amount: int
    window_s: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `10/minute`, `100/hour`, `5/10 seconds`.

        Raises:
            ValueError: It is no rate, or one that nothing could keep count of.
        """
        found = _RATE.fullmatch(text.strip().lower())
        if found is None:
            raise ValueError
        amount, count, unit = found.groups()
        rate = cls(int(amount), int(count or 1) * _SECONDS[unit])
        if rate.amount == 0:
            raise ValueError("allows nothing at all")
        if rate.window_s == 0 or rate.window_s > _LONGEST_S or rate.amount > _MOST:
            raise ValueError("cannot be counted")
        return rate

    def shared_by(self, workers: int) -> "Rate":
        """What each of several workers, who do not count together, may allow: at least once.

        Args:
            workers: How many there are.
        """
        return Rate(max(1, self.amount // workers), self.window_s)

    def __str__(self) -> str:
        unit, seconds = next((u, s) for u, s in reversed(_SECONDS.items()) if self.window_s % s == 0)
        count = self.window_s // seconds
        return f"{self.amount}/{unit}" if count == 1 else f"{self.amount}/{count} {unit}s"
