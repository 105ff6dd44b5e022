"""Formatting of values for messages and listings, with credentials masked."""

import re
from pathlib import Path
from typing import Any

from .secret import Secret

MASK = "***"
_MAX_QUOTED = 120
# Greedy up to the last @ of the authority: a password may contain one that should have been escaped.
_USERINFO = re.compile(r"(?<=://)[^/?#\s]*@")
# name=value where the name suggests a secret: at the start, in a list item or in a URL's query.
_NAMED = re.compile(
    r"(?:^|(?<=[?&;,\s]))([^=?&;,#\s]{0,64}(?:passw|pwd|secret|token|credential|api[_-]?key|signature)"
    r"[^=?&;,#\s]{0,64})=[^&;,#\s]+",
    re.IGNORECASE,
)


def masked(text: str) -> str:
    """Mask the credentials of URLs, and values whose names suggest secrets."""
    return _NAMED.sub(rf"\1={MASK}", _USERINFO.sub(f"{MASK}@", text))


def quoted(text: str) -> str:
    """Quote a text for a message: masked, control characters escaped, truncated."""
    safe = masked(text)
    return repr(safe) if len(safe) <= _MAX_QUOTED else f"{safe[:_MAX_QUOTED]!r}..."


def rendered(value: Any, text: str | None = None) -> str:
    """Format a value as it would be written in the environment. Secrets are masked, None is empty.

    Args:
        value: The value of a setting.
        text: The text it was parsed from; used for types that are not built in.
    """
    if value is None:
        return ""
    if isinstance(value, Secret):
        return MASK
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, (str, int, Path)):
        return masked(str(value))
    if isinstance(value, tuple) and (text is None or all(isinstance(item, _BUILT_IN) for item in value)):
        return ",".join(rendered(item) for item in value)
    return masked(str(value) if text is None else text.strip())


_BUILT_IN = (str, int, float, Path, Secret)
