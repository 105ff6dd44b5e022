"""How a value is shown to people."""

import re
from pathlib import Path
from typing import Any

from .secret import Secret

HIDDEN = "***"
_LONGEST = 120
# Greedy up to the last @ of the authority: a password may hold one that should have been escaped.
_USERINFO = re.compile(r"(?<=://)[^/?#\s]*@")
# A name with such a word in it, at the start of the text, of a list's part or in a URL's query.
_NAMED = re.compile(
    r"(?:^|(?<=[?&;,\s]))([^=?&;,#\s]{0,64}(?:passw|pwd|secret|token|credential|api[_-]?key|signature)"
    r"[^=?&;,#\s]{0,64})=[^&;,#\s]+",
    re.IGNORECASE,
)


def shown(text: str) -> str:
    """A text without the credentials of URLs, and without values whose names are those of secrets."""
    return _NAMED.sub(rf"\1={HIDDEN}", _USERINFO.sub(f"{HIDDEN}@", text))


def quoted(text: str) -> str:
    """A text for a problem: quoted, its control characters escaped, not too long."""
    safe = shown(text)
    return repr(safe) if len(safe) <= _LONGEST else f"{safe[:_LONGEST]!r}..."


def rendered(value: Any, text: str | None = None) -> str:
    """A value as it would be written in the environment; a secret's is hidden, None is empty.

    Args:
        value: The value of a setting.
        text: What it was read from; used where the value is of a type of its author's own.
    """
    if value is None:
        return ""
    if isinstance(value, Secret):
        return HIDDEN
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, (str, int, Path)):
        return shown(str(value))
    if isinstance(value, tuple) and (text is None or all(isinstance(item, _SIMPLE) for item in value)):
        return ",".join(rendered(item) for item in value)
    return shown(str(value) if text is None else text.strip())


_SIMPLE = (str, int, float, Path, Secret)
