"""The language of rate limits in settings, such as `10/minute; burst=5; by=address`."""

import re
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final, Literal, Self, final, get_args

Subject = Literal["address", "user", "account"]

_SECONDS: Final = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}
_RATE: Final = re.compile(r"([0-9]{1,5}) ?/ ?(?:([0-9]{1,5}) ?)?(second|minute|hour|day)s?")
_OPTION: Final = re.compile(r"([a-z_]{1,20}) ?= ?([a-z0-9]{1,20})")
_OPTIONS: Final = ("burst", "by", "wide")
_MAX_AMOUNT: Final = 10_000
_MAX_WIDE: Final = 100_000
_MAX_WINDOW_S: Final = 31 * 86400
_WIDE_FACTOR: Final = 10


@final
@dataclass(frozen=True, slots=True)
class Rate:
    """Number of requests allowed in a moving window.

    Args:
        amount: Requests per window.
        window_s: Seconds of the window.
        burst: Requests that may follow one another at once: the maximum in a moving window that is shorter
            in the same proportion; 0 for the whole amount.
        by: The client, user or account that is counted; `None` for what the route counts.
        wide: Requests per window of all clients in an IPv6 /48; 0 for 10 times the amount.
    """

    accepts: ClassVar[str] = (
        "a number of requests per time: 10/minute, 100/hour or 5/10 seconds, at most 10000 in 31 days;"
        " optionally followed by ; burst=N, ; by=address, user or account, and ; wide=N"
    )

    amount: int
    window_s: int
    burst: int = 0
    by: Subject | None = None
    wide: int = 0

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse `10/minute`, `100/hour; burst=20`, `5/10 seconds; by=address; wide=20`.

        Raises:
            ValueError: The text is not a rate, or out of range.
        """
        first, *options = (part.strip() for part in text.lower().split(";"))
        found = _RATE.fullmatch(first)
        if found is None:
            raise ValueError("does not start with a number of requests per time")
        amount, count, unit = found.groups()
        values: dict[str, Any] = {}
        for option in options:
            name, value = _parse_option(option)
            if name in values:
                raise ValueError(f"has the option `{name}` twice")
            values[name] = value
        rate = cls(int(amount), int(count or 1) * _SECONDS[unit], **values)
        _check(rate)
        return rate

    @property
    def burst_s(self) -> float:
        """Seconds in which at most `burst` requests are allowed."""
        return self.window_s * self.burst / self.amount

    @property
    def wide_amount(self) -> int:
        """Requests per window of all clients in an IPv6 /48."""
        return self.wide or min(_MAX_WIDE, _WIDE_FACTOR * self.amount)

    def shared_by(self, workers: int, *, round_up: bool = False) -> "Rate":
        """Return the share of one of several workers that count separately; at least one request."""

        def share(number: int) -> int:
            return max(1, -(-number // workers) if round_up else number // workers)

        amount = share(self.amount)
        return replace(
            self,
            amount=amount,
            burst=self.burst and min(amount, share(self.burst)),
            wide=max(amount, share(self.wide_amount)),
        )

    def __str__(self) -> str:
        unit, seconds = next((u, s) for u, s in reversed(_SECONDS.items()) if self.window_s % s == 0)
        count = self.window_s // seconds
        rate = f"{self.amount}/{unit}" if count == 1 else f"{self.amount}/{count} {unit}s"
        options = (f"; {name}={value}" for name in _OPTIONS if (value := getattr(self, name)))
        return rate + "".join(options)


def _parse_option(text: str) -> tuple[str, Any]:
    found = _OPTION.fullmatch(text)
    if found is None:
        raise ValueError("has something after `;` that is not an option: write `; burst=5`")
    name, value = found.groups()
    if name not in _OPTIONS:
        raise ValueError(f"has the unknown option `{name}`: use burst, by or wide")
    if name == "by":
        if value not in get_args(Subject):
            raise ValueError("has an unknown value of `by`: use address, user or account")
        return name, value
    if not value.isdigit() or len(value) > len(str(_MAX_WIDE)) or int(value) == 0:
        raise ValueError(f"has a value of `{name}` that is not a number from 1 to {_MAX_WIDE}")
    return name, int(value)


def _check(rate: Rate) -> None:
    if rate.amount == 0:
        raise ValueError("allows no request")
    if not 0 < rate.window_s <= _MAX_WINDOW_S or rate.amount > _MAX_AMOUNT:
        raise ValueError("is out of range")
    if rate.burst > rate.amount:
        raise ValueError(f"has a `burst` above its {rate.amount} requests: use a smaller one")
    if rate.wide and rate.by not in {None, "address"}:
        raise ValueError(f"has `wide`, which is for addresses, and `by={rate.by}`: remove one of them")
    if 0 < rate.wide < rate.amount or rate.wide > _MAX_WIDE:
        raise ValueError(f"has a `wide` that is not from {rate.amount}, its requests, to {_MAX_WIDE}")
