"""Rendering of log lines for a terminal."""

from typing import Any, Final

import msgspec

from .record import RESERVED, visible

# ANSI codes.
_DIM, _BOLD = 2, 1
_COLOURS: Final = {"TRACE": 35, "DEBUG": 34, "INFO": 32, "WARN": 33, "ERROR": 31}


def pretty_line(line: dict[str, Any], *, colours: bool) -> bytes:
    """Return the fields of a line as text, with or without ANSI colours."""

    def paint(text: str, code: int) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if colours else text

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
