"""Sources of a variable's text: the environment, mounted files and `.env`."""

import os
import re
import stat
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from .._declare.fields import Leaf
from .._errors import Problem
from .._show.display import quoted
from . import dotenv

FILE_SUFFIX = "_FILE"
MAX_FILE_BYTES = 64 * 1024
_SURROGATE = re.compile("[\ud800-\udfff]")
_ACCEPTED = f"the path of a readable UTF-8 file of at most {MAX_FILE_BYTES // 1024} KiB"


class RawValue(NamedTuple):
    """The text of a variable and its source. The content of a file is never displayed."""

    text: str
    source: str
    from_file: bool = False


class _FileError(Exception):
    """A file cannot be read. The message contains the reason, but neither path nor content."""


def file_variable(variable: str, variables: Collection[str]) -> str | None:
    """Return the variable that may name a file with the value (`X_FILE` for `X`), or None.

    Names that end in `_FILE` are paths already, and a name in `variables` is a variable of its own.
    """
    name = variable + FILE_SUFFIX
    return None if variable.endswith(FILE_SUFFIX) or name in variables else name


class Sources:
    """The environment and, once opened, the `.env` file; the environment takes precedence.

    An empty or blank text counts as absent, because compose files pass `X=` for unset variables.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._layers: list[tuple[str, Mapping[str, str]]] = [("environment", environ)]

    def open_dotenv(self, path: Path) -> list[Problem]:
        """Add a `.env` file if it exists, and return its problems."""
        # A directory of that name is ignored: `python -m venv .env` creates one.
        if not os.path.exists(path) or os.path.isdir(path):
            return []
        try:
            text = _read_text(path)
        except _FileError as error:
            return [Problem(path.name, f"cannot be read: {error}")]
        values, problems = dotenv.parse(text, path.name)
        self._layers.append((path.name, values))
        return problems

    def names(self) -> dict[str, str]:
        """Return all variables that are set, declared or not."""
        layers = (layer for _, layer in reversed(self._layers))
        return {name: text for layer in layers for name, text in layer.items() if text.strip()}

    def find(self, leaf: Leaf, variables: Collection[str]) -> RawValue | Problem | None:
        """Return the text of a variable, the reason it cannot be read, or None when it is not set."""
        return next(self._search(leaf, file_variable(leaf.variable, variables)), None)

    def _search(self, leaf: Leaf, by_file: str | None) -> Iterator[RawValue | Problem]:
        for source, layer in self._layers:
            text = layer.get(leaf.variable, "")
            path = layer.get(by_file, "") if by_file else ""
            if text.strip() and path.strip():
                yield Problem(leaf.variable, f"and {by_file} are both set", "one of the two")
            elif text.strip():
                # Environment variables are bytes; Python decodes invalid UTF-8 to lone surrogates.
                is_utf8 = not _SURROGATE.search(text)
                not_utf8 = Problem(leaf.variable, "is not UTF-8", leaf.type.accepts)
                yield RawValue(text, source) if is_utf8 else not_utf8
            elif path.strip():
                yield _from_file(leaf, path.strip())


def _from_file(leaf: Leaf, path: str) -> RawValue | Problem:
    name = leaf.variable + FILE_SUFFIX
    try:
        text = _read_text(Path(path)).rstrip("\r\n")
    except _FileError as error:
        described = f"is {quoted(path)}" if _may_be_shown(leaf, path) else "names a file that cannot be read"
        return Problem(name, f"{described}: {error}", _ACCEPTED)
    if not text.strip():
        return Problem(name, f"is {quoted(path)}: it is empty", f"a file that contains {leaf.type.accepts}")
    return RawValue(text, f"file {path}", from_file=True)


def _may_be_shown(leaf: Leaf, path: str) -> bool:
    """Return whether the text is likely a path, and not the secret itself set by mistake."""
    if not leaf.type.secret:
        return True
    folder = Path(path).parent
    try:
        return folder not in {Path("/"), Path()} and folder.is_dir()
    except (OSError, ValueError):
        return False


def _read_text(path: Path) -> str:
    """Return the text of a file.

    Raises:
        _FileError: It is missing, not a regular file, too large, or not UTF-8.
    """
    try:
        # Checked before opening: opening a named pipe would block.
        if not stat.S_ISREG(path.stat().st_mode):
            raise _FileError("it is not a regular file")
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
        if len(content) > MAX_FILE_BYTES:
            raise _FileError(f"it is larger than {MAX_FILE_BYTES // 1024} KiB")
        # utf-8-sig: Windows editors write a byte order mark.
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise _FileError(error.strerror or type(error).__name__) from None
    except UnicodeDecodeError:
        raise _FileError("it is not UTF-8") from None
    except ValueError:
        raise _FileError("the path contains a NUL character") from None
    if "\0" in text:
        raise _FileError("it contains a NUL character")
    return text
