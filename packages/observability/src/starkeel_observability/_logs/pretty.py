"""Rendering of log lines for a terminal."""

from typing import Any, Final

import msgspec

from .record import RESERVED, visible

_RESET: Final = "\x1b[0m"
_DIM: Final = "\x1b[2m"
_BOLD: Final = "\x1b[1m"
_COLOURS: Final = {
    "TRACE": "\x1b[35m",
    "DEBUG": "\x1b[34m",
    "INFO": "\x1b[32m",
    "WARN": "\x1b[33m",
    "ERROR": "\x1b[31m",
}


def pretty_line(line: dict[str, Any], *, colours: bool) -> bytes:
    """Return the fields of a line as text.

    Args:
        line: Fields of the line.
        colours: Whether to emit ANSI colours.
    """

    def paint(text: str, colour: str) -> str:
        return f"{colour}{text}{_RESET}" if colours else text

    level = line["level"]
    fields = [(name, value) for name, value in line.items() if name not in RESERVED]
    fields += [(name, line[name]) for name in ("request_id", "trace_id") if name in line]
    parts = [
        # UTC, as in the JSON format.
        paint(line["timestamp"][11:23], _DIM),
        paint(f"{level:<5}", _COLOURS[level]),
        paint(visible(line["message"]), _BOLD),
        *(f"{paint(visible(name) + '=', _DIM)}{_value(value)}" for name, value in fields),
        paint(f"({visible(line['target'])} {line['file']}:{line['line']})", _DIM),
    ]
    stack = line.get("exception", {}).get("stack")
    if stack is not None:
        parts.append("\n" + paint("\n".join(map(visible, stack.split("\n"))), _COLOURS["ERROR"]))
    return (" ".join(parts) + "\n").encode()


def _value(value: Any) -> str:
    if isinstance(value, str) and value and " " not in value:
        return visible(value)
    return visible(msgspec.json.encode(value).decode())
