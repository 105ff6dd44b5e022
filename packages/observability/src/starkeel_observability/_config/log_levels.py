"""Log levels, for all loggers and for single ones."""

import re
from bisect import bisect_right
from collections.abc import Mapping
from functools import partial
from typing import ClassVar, Final, final

from msgspec import Struct

TRACE: Final = 5
OFF: Final = 1000
"""Greater than every level."""

_LEVELS: Final[Mapping[str, int]] = {
    "trace": TRACE,
    "debug": 10,
    "info": 20,
    "warn": 30,
    "warning": 30,
    "error": 40,
    "off": OFF,
}
_NAMES: Final = {number: name for name, number in reversed(list(_LEVELS.items()))}
_TARGET = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]+)*")


SEVERITIES: Final = ("TRACE", "DEBUG", "INFO", "WARN", "ERROR")
"""Names of levels in log lines, least severe first."""
severity_of: Final = partial(bisect_right, (10, 20, 30, 40))
"""Return the index in `SEVERITIES`; an intermediate level has that of the next lower one."""


@final
class LogLevels(Struct, frozen=True):
    """A default level and directives for single loggers: `info,orders=debug,sqlalchemy.engine=warning`.

    A directive applies to the logger and its children: `orders` also to `orders.users`.
    """

    default: int
    directives: Mapping[str, int]

    accepts: ClassVar = (
        "trace, debug, info, warn, error or off, and directives such as orders=debug, comma-separated"
    )

    @classmethod
    def parse(cls, text: str) -> "LogLevels":
        """Parse levels.

        Raises:
            ValueError: The text is malformed.
        """
        # The default level has the name "".
        levels: dict[str, int] = {}
        for part in filter(None, map(str.strip, text.split(","))):
            target, is_directive, name = map(str.strip, part.rpartition("="))
            if name.lower() not in _LEVELS:
                raise ValueError(f"'{name}' is not a level")
            if is_directive and not _TARGET.fullmatch(target):
                raise ValueError(f"'{target}' is not a valid logger name")
            if target in levels:
                raise ValueError(
                    f"'{target}' has two levels" if is_directive else f"'{part}' is a second default level"
                )
            levels[target] = _LEVELS[name.lower()]
        if not levels:
            raise ValueError("it contains no level")
        return cls(levels.pop("", _LEVELS["info"]), levels)

    def of(self, target: str) -> int:
        name = target
        while name:
            if name in self.directives:
                return self.directives[name]
            name = name.rpartition(".")[0]
        return self.default

    def __str__(self) -> str:
        named = [f"{target}={_NAMES[level]}" for target, level in self.directives.items()]
        return ",".join([_NAMES[self.default], *named])

    def __repr__(self) -> str:
        return f"LogLevels.parse({str(self)!r})"

    def __hash__(self) -> int:
        return hash((self.default, frozenset(self.directives.items())))
