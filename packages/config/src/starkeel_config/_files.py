"""Reading a small text file that somebody else wrote."""

import stat
from pathlib import Path

LIMIT_BYTES = 64 * 1024
ACCEPTED = f"the path of a readable UTF-8 file of at most {LIMIT_BYTES // 1024} KiB"


class Unreadable(Exception):
    """A file that cannot be taken; the text says why, and shows neither path nor content."""


def read_text(path: Path) -> str:
    """The text of a file.

    Raises:
        Unreadable: When it is missing, not a plain file, too large, or not UTF-8.
    """
    try:
        # Before it is opened: opening a named pipe would wait for ever.
        if not stat.S_ISREG(path.stat().st_mode):
            raise Unreadable("it is not a plain file")
        with path.open("rb") as file:
            content = file.read(LIMIT_BYTES + 1)
    except OSError as error:
        raise Unreadable(error.strerror or type(error).__name__) from None
    except ValueError:
        raise Unreadable("the path has a NUL in it") from None
    if len(content) > LIMIT_BYTES:
        raise Unreadable(f"it is larger than {LIMIT_BYTES // 1024} KiB")
    try:
        # With -sig: editors on Windows put a byte order mark in front.
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Unreadable("it is not UTF-8") from None
    if "\0" in text:
        raise Unreadable("it has a NUL in it")
    return text
