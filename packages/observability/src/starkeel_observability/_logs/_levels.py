"""How important a line must be to be written, for each logger."""

import re
from collections.abc import Mapping
from typing import Final, final

TRACE: Final = 5
OFF: Final = 1000
"""Above every level."""

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


def level_name(level: int) -> str:
    """What a level is called in a line; levels in between are called as the next lower one."""
    if level >= 40:
        return "ERROR"
    if level >= 30:
        return "WARN"
    if level >= 20:
        return "INFO"
    return "DEBUG" if level >= 10 else "TRACE"


def shown_level(level: int) -> str:
    """What a level is called where it says from which on lines are written."""
    return "OFF" if level >= OFF else level_name(level)


@final
class LogLevels:
    """A level for all loggers and others for some: `info,orders=debug,sqlalchemy.engine=warning`.

    A directive holds for the logger it names and those below it: `orders` for `orders.users`, too.

    Args:
        default: The level of loggers that no directive names.
        directives: Levels by logger.
    """

    __slots__ = ("default", "directives")

    accepts = "trace, debug, info, warn, error or off, and directives such as orders=debug, comma-separated"

    def __init__(self, default: int, directives: Mapping[str, int]) -> None:
        self.default = default
        self.directives = dict(directives)

    @classmethod
    def parse(cls, text: str) -> "LogLevels":
        """Read levels from a text.

        Raises:
            ValueError: With what is wrong.
        """
        default: int | None = None
        directives: dict[str, int] = {}
        for part in filter(None, (part.strip() for part in text.split(","))):
            target, is_directive, name = part.rpartition("=")
            level = _level(name)
            if not is_directive:
                if default is not None:
                    raise ValueError(f"'{part}' is a second level for all loggers")
                default = level
            else:
                _add(directives, target.strip(), level)
        if default is None and not directives:
            raise ValueError("it names no level")
        return cls(_LEVELS["info"] if default is None else default, directives)

    def of(self, target: str) -> int:
        """The level of a logger."""
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

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, LogLevels):
            return NotImplemented
        return (self.default, self.directives) == (other.default, other.directives)

    def __hash__(self) -> int:
        return hash((self.default, frozenset(self.directives.items())))


def _level(name: str) -> int:
    try:
        return _LEVELS[name.strip().lower()]
    except KeyError:
        raise ValueError(f"'{name.strip()}' is no level") from None


def _add(directives: dict[str, int], target: str, level: int) -> None:
    if not _TARGET.fullmatch(target):
        raise ValueError(f"'{target}' is no name of a logger")
    if target in directives:
        raise ValueError(f"'{target}' has two levels")
    directives[target] = level
