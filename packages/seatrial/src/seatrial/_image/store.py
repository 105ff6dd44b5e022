"""Files of an image archive or layout, by name."""

import io
from pathlib import Path
from typing import BinaryIO, Final, Protocol

from .errors import ImageError
from .tar import TarReader

_MAX_MEMBERS: Final = 20_000
_MAX_LINKS: Final = 8


class Store(Protocol):
    """Named files, of which each can be opened at any time."""

    @property
    def name(self) -> str:
        """Name for messages."""
        ...

    def open(self, path: str) -> BinaryIO | None:
        """Return a file, or `None` if it is missing."""
        ...

    def size(self, path: str) -> int:
        """Return the bytes of a file that exists."""
        ...


class DirectoryStore:
    """An OCI layout as a directory."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()
        self.name = str(folder)

    def open(self, path: str) -> BinaryIO | None:
        """Return a file, or `None` if it is missing.

        Raises:
            ImageError: It is outside the directory, which a symbolic link can cause.
        """
        file = self._path(path)
        try:
            return file.open("rb") if file.is_file() else None
        except OSError as error:
            raise ImageError(f"{file} cannot be read: {error.strerror}") from error

    def size(self, path: str) -> int:
        """Return the bytes of a file that exists."""
        return self._path(path).stat().st_size

    def _path(self, path: str) -> Path:
        file = (self._folder / path).resolve()
        if not file.is_relative_to(self._folder):
            raise ImageError(f"{self.name} cannot be read: {path!r} leads out of the directory")
        return file


class ArchiveStore:
    """A tar archive, whose members are found by one pass over its headers.

    Args:
        file: A seekable, uncompressed archive.
        name: Its name for messages.

    Raises:
        ImageError: It is not a tar archive, or damaged.
    """

    def __init__(self, file: BinaryIO, *, name: str) -> None:
        self.name = name
        self._file = file
        self._members: dict[str, tuple[int, int] | str] = {}
        self._bytes = file.seek(0, io.SEEK_END)
        file.seek(0)
        self._index(_Headers(file, name=name))

    def open(self, path: str) -> BinaryIO | None:
        """Return a member, or `None` if it is missing. Reading two members at a time is possible."""
        found = self._find(path)
        return None if found is None else io.BufferedReader(_Member(self._file, *found), 1 << 18)

    def size(self, path: str) -> int:
        """Return the bytes of a member that exists."""
        found = self._find(path)
        return 0 if found is None else found[1]

    def _index(self, reader: TarReader) -> None:
        for entry in reader:
            if entry.kind == "file":
                self._members[entry.path] = (reader.offset, entry.size)
            elif entry.kind == "hardlink":
                self._members[entry.path] = entry.target
            elif entry.kind == "symlink":
                # `docker save` before version 25 links layers that images share: `../ID/layer.tar`.
                self._members[entry.path] = _joined(entry.path, entry.target)
            if len(self._members) > _MAX_MEMBERS:
                raise ImageError(f"{self.name} has more than {_MAX_MEMBERS} files; is it an image?")
            if entry.kind == "file" and reader.offset + entry.size > self._bytes:
                raise ImageError(f"the archive {self.name} is cut off within {entry.path!r}")

    def _find(self, path: str) -> tuple[int, int] | None:
        found: tuple[int, int] | str | None = path
        for _ in range(_MAX_LINKS):
            if not isinstance(found, str):
                return found
            found = self._members.get(found)
        return None


class _Headers(TarReader):
    """Reads headers only: contents are skipped by seeking."""

    def __init__(self, file: BinaryIO, *, name: str) -> None:
        super().__init__(file, name=name)
        self._file = file

    def skip(self, size: int) -> None:
        self._file.seek(size, io.SEEK_CUR)
        self.offset += size


class _Member(io.RawIOBase):
    """A part of a file, with a position of its own."""

    def __init__(self, file: BinaryIO, start: int, size: int) -> None:
        super().__init__()
        self._file = file
        self._start = start
        self._size = size
        self._position = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "bytearray | memoryview") -> int:  # type: ignore[override]
        self._file.seek(self._start + self._position)
        data = self._file.read(min(len(buffer), self._size - self._position))
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)


def _joined(path: str, target: str) -> str:
    parts = [] if target.startswith("/") else path.split("/")[:-1]
    for part in target.split("/"):
        if part == ".." and parts:
            parts.pop()
        elif part not in {"", ".", ".."}:
            parts.append(part)
    return "/".join(parts)
