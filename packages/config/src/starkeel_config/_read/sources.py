"""Where the text of a variable is looked for."""

import os
import stat
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from .._declare.fields import Leaf
from .._errors import Problem
from .._show.shown import quoted
from . import dotenv

FILE_SUFFIX = "_FILE"
LIMIT_BYTES = 64 * 1024
ACCEPTED = f"the path of a readable UTF-8 file of at most {LIMIT_BYTES // 1024} KiB"


class Found(NamedTuple):
    """The text of a variable and where it came from; that of a file is never shown."""

    text: str
    source: str
    from_file: bool = False


def file_form(variable: str, variables: Collection[str]) -> str | None:
    """The name under which a variable's value may be given by file, or None.

    A name that ends in `_FILE` is a path already; one that is a variable of its own is nobody's file form.
    """
    name = variable + FILE_SUFFIX
    return None if variable.endswith(FILE_SUFFIX) or name in variables else name


class Sources:
    """The environment and, once it was opened, the `.env` file; the environment wins.

    An empty or blank text counts as absent, as compose files pass `X=` for what is not set.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._layers: list[tuple[str, Mapping[str, str]]] = [("environment", environ)]

    def open_dotenv(self, path: Path) -> list[Problem]:
        """Add a `.env` file when there is one; what is wrong with it."""
        # A folder of that name is somebody else's: `python -m venv .env` makes one.
        if not os.path.exists(path) or os.path.isdir(path):
            return []
        try:
            text = read_text(path)
        except Unreadable as error:
            return [Problem(path.name, f"cannot be read: {error}")]
        values, problems = dotenv.parse(text, path.name)
        self._layers.append((path.name, values))
        return problems

    def names(self) -> dict[str, str]:
        """Every variable that is set to something, ours or not."""
        return {
            name: text for _, layer in reversed(self._layers) for name, text in layer.items() if text.strip()
        }

    def find(self, leaf: Leaf, variables: Collection[str]) -> Found | Problem | None:
        """What a variable is set to, or why that cannot be told; None when it is not set."""
        by_file = file_form(leaf.variable, variables)
        return next(self._search(leaf, by_file), None)

    def _search(self, leaf: Leaf, by_file: str | None) -> Iterator[Found | Problem]:
        for source, layer in self._layers:
            text = layer.get(leaf.variable, "")
            path = layer.get(by_file, "") if by_file else ""
            if text.strip() and path.strip():
                yield Problem(leaf.variable, f"and {by_file} are both set", "one of the two")
            elif text.strip():
                yield _direct(leaf, text, source)
            elif path.strip():
                yield _by_file(leaf, path.strip())


def _direct(leaf: Leaf, text: str, source: str) -> Found | Problem:
    try:
        # The operating system passes bytes; Python marks those that are not UTF-8 by lone surrogates.
        text.encode()
    except UnicodeEncodeError:
        return Problem(leaf.variable, "is not UTF-8", leaf.kind.accepts)
    return Found(text, source)


def _by_file(leaf: Leaf, path: str) -> Found | Problem:
    name = leaf.variable + FILE_SUFFIX
    try:
        text = read_text(Path(path)).rstrip("\r\n")
    except Unreadable as error:
        told = f"is {quoted(path)}" if _may_be_shown(leaf, path) else "names a file that cannot be taken"
        return Problem(name, f"{told}: {error}", ACCEPTED)
    if not text.strip():
        return Problem(name, f"is {quoted(path)}: it is empty", f"a file that holds {leaf.kind.accepts}")
    return Found(text, f"file {path}", from_file=True)


def _may_be_shown(leaf: Leaf, path: str) -> bool:
    """Whether it is a path: people put the secret itself where its file's name belongs."""
    if not leaf.kind.secret:
        return True
    folder = Path(path).parent
    try:
        return folder not in {Path("/"), Path()} and folder.is_dir()
    except (OSError, ValueError):
        return False


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
