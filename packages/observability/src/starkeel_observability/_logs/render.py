"""Rendering of log lines: JSON, or text for a terminal."""

import re
from collections.abc import Callable
from typing import Any, Final

import msgspec

from .record import RESERVED

# JSON escapes C0 controls only. Terminals and log viewers also act on DEL, C1 controls, line separators and
# bidirectional overrides.
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]")
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
_encoder: Final = msgspec.json.Encoder()


def json_line(line: dict[str, Any] | str) -> bytes:
    """Return the fields of a line, or a text, as one line of JSON."""
    encoded = _encoder.encode(line)
    if not encoded.isascii() or b"\x7f" in encoded:
        # What is left occurs only inside strings, where the escaped form is equivalent.
        encoded = _visible(encoded.decode()).encode()
    return encoded + b"\n"


def pretty_line(*, colours: bool) -> Callable[[dict[str, Any]], bytes]:
    """Return a function that renders the fields of a line for a terminal.

    Args:
        colours: Whether to emit ANSI colours.
    """

    def paint(text: str, colour: str) -> str:
        return f"{colour}{text}{_RESET}" if colours else text

    def write(line: dict[str, Any]) -> bytes:
        level = line["level"]
        parts = [
            # UTC, as in the JSON format.
            paint(line["timestamp"][11:23], _DIM),
            paint(f"{level:<5}", _COLOURS[level]),
            paint(_visible(line["message"]), _BOLD),
            *(f"{paint(_visible(name) + '=', _DIM)}{_value(value)}" for name, value in _fields(line)),
            paint(f"({_visible(line['target'])} {line['file']}:{line['line']})", _DIM),
        ]
        stack = line.get("exception", {}).get("stack")
        if stack is not None:
            parts.append("\n" + paint("\n".join(map(_visible, stack.split("\n"))), _COLOURS["ERROR"]))
        return (" ".join(parts) + "\n").encode()

    return write


def _fields(line: dict[str, Any]) -> list[tuple[str, Any]]:
    ids = [(name, line[name]) for name in ("request_id", "trace_id") if name in line]
    return [(name, value) for name, value in line.items() if name not in RESERVED] + ids


def _value(value: Any) -> str:
    if isinstance(value, str) and value and " " not in value:
        return _visible(value)
    return _visible(msgspec.json.encode(value).decode())


def _visible(text: str) -> str:
    return _CONTROL.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"
