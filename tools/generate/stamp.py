"""First line of a generated file with a digest of the rest, by which an edit is noticed."""

import hashlib
import re

_STAMP = re.compile(r"[^\n]*\bsha256:([0-9a-f]{16})\b[^\n]*\n")


def stamped(text: str, note: str, *, form: str = "# {}") -> str:
    """Return a text below a line with the note and the text's digest.

    Args:
        text: The generated text.
        note: Where a change belongs.
        form: The comment of the file's format.
    """
    return f"{form.format(f'{note} sha256:{digest(text)}')}\n{text}"


def is_stamped(text: str) -> bool:
    """Return whether a text has such a line."""
    return _STAMP.match(text) is not None


def is_edited(text: str) -> bool:
    """Return whether a text differs from what was generated; one without the line does."""
    found = _STAMP.match(text)
    return found is None or found[1] != digest(text[found.end() :])


def digest(text: str) -> str:
    """Return a short digest, which notices an edit and is no protection from a forged one."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]
