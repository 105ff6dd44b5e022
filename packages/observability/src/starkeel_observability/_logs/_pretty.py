"""A line for people at a terminal."""

import re
from collections.abc import Callable
from typing import Any, Final

import msgspec

from ._event import RESERVED

_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_CONTROL_IN_TEXT: Final = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]"
)
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


def pretty_line(*, colours: bool) -> Callable[[dict[str, Any]], bytes]:
    """What writes a line's names and values for people.

    Args:
        colours: Whether whoever reads it understands ANSI colours.
    """

    def paint(text: str, colour: str) -> str:
        return f"{colour}{text}{_RESET}" if colours else text

    def write(line: dict[str, Any]) -> bytes:
        level = line["level"]
        parts = [
            # In UTC, as the JSON has it.
            paint(line["timestamp"][11:23], _DIM),
            paint(f"{level:<5}", _COLOURS[level]),
            paint(_visible(line["message"]), _BOLD),
            *(f"{paint(_visible(name) + '=', _DIM)}{_shown(value)}" for name, value in _fields(line)),
            paint(f"({_visible(line['target'])} {line['file']}:{line['line']})", _DIM),
        ]
        stack = line.get("exception", {}).get("stack")
        if stack is not None:
            parts.append("\n" + paint(_CONTROL_IN_TEXT.sub(_escaped, stack), _COLOURS["ERROR"]))
        return (" ".join(parts) + "\n").encode()

    return write


def _fields(line: dict[str, Any]) -> list[tuple[str, Any]]:
    own = [(name, value) for name, value in line.items() if name not in RESERVED]
    if "request_id" in line:
        own.append(("request_id", line["request_id"]))
    if "trace_id" in line:
        own.append(("trace_id", line["trace_id"]))
    return own


def _shown(value: Any) -> str:
    text = (
        value
        if isinstance(value, str) and value and " " not in value
        else msgspec.json.encode(value).decode()
    )
    return _visible(text)


def _visible(text: str) -> str:
    return _CONTROL.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"
