"""A line as JSON."""

import re
from typing import Any, Final

import msgspec

# JSON itself asks for C0 controls to be escaped. Terminals and viewers obey these as well: DEL, C1, line ends
# and what turns the direction of writing.
_UNSEEN: Final = re.compile("[\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_encoder: Final = msgspec.json.Encoder()


def json_line(line: dict[str, Any] | str) -> bytes:
    """A line's names and values, or a text, as one line of JSON."""
    encoded = _encoder.encode(line)
    if not encoded.isascii() or b"\x7f" in encoded:
        # They stand inside strings only, where their escaped form means the same.
        encoded = _UNSEEN.sub(_escaped, encoded.decode()).encode()
    return encoded + b"\n"


def _escaped(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"
