"""Streaming tar reader with bounded memory.

`tarfile` reads extended headers of any size into memory and keeps every member; an image is not trusted.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from .errors import ImageError

Kind = Literal["file", "directory", "symlink", "hardlink", "special"]

_BLOCK: Final = 512
_CHUNK: Final = 1 << 18
_MAX_EXTENDED_BYTES: Final = 1 << 20
"""Bytes of an extended header. Linux limits a path to 4,096 bytes and extended attributes to 64 KiB each."""
_MAX_PATH: Final = 4096
_KINDS: Final[dict[bytes, Kind]] = {
    b"0": "file",
    b"\0": "file",
    b"7": "file",
    b"1": "hardlink",
    b"2": "symlink",
    b"3": "special",
    b"4": "special",
    b"5": "directory",
    b"6": "special",
}
_SIZE: Final = re.compile("[0-9]{1,19}")
_CAPABILITY: Final = "SCHILY.xattr.security.capability"


class Source(Protocol):
    """Bytes that are read once, from front to back."""

    def read(self, size: int, /) -> bytes:
        """Return at most `size` bytes, and none at the end."""
        ...


@dataclass(frozen=True, slots=True)
class Entry:
    """Header of an entry.

    Attributes:
        path: Path below the root, without leading or trailing slashes; the root itself is empty.
        mode: Permission bits with setuid, setgid and sticky.
        size: Bytes of a file's content.
        target: Target of a symbolic link, unchanged, or of a hard link, as a path below the root.
        has_capabilities: Whether the file gives Linux capabilities to a process that executes it.
    """

    path: str
    kind: Kind
    mode: int
    uid: int
    size: int
    target: str = ""
    has_capabilities: bool = False


class TarReader:
    """Reads entries in order; the content of an entry can be read until the next entry is requested.

    Args:
        source: An uncompressed archive.
        name: Name of the archive for messages.
    """

    def __init__(self, source: Source, *, name: str) -> None:
        self._source = source
        self._name = name
        self._left = 0
        self._padding = 0
        self.offset = 0
        """Bytes read so far; at an entry, the position of its content."""

    def __iter__(self) -> Iterator[Entry]:
        """Yield the entries.

        Raises:
            ImageError: The archive is damaged, or an entry leaves the root or is not supported.
        """
        while (header := self._header()) is not None:
            extended: dict[str, str] = {}
            while header is not None and header[156:157] in b"xgLK":
                extended |= self._extended(header)
                header = self._header()
            if header is None:
                raise self._damaged("it ends after an extended header")
            yield self._entry(header, extended)

    def read(self, size: int) -> bytes:
        """Return at most `size` bytes of the current entry's content."""
        data = self._exactly(min(size, self._left))
        self._left -= len(data)
        return data

    def skip(self, size: int) -> None:
        """Skip bytes of the archive."""
        while size:
            size -= len(self._exactly(min(size, _CHUNK)))

    def _header(self) -> bytes | None:
        self.skip(self._left + self._padding)
        self._left = self._padding = 0
        header = self._source.read(_BLOCK)
        while header and len(header) < _BLOCK and (more := self._source.read(_BLOCK - len(header))):
            header += more
        self.offset += len(header)
        if not header or not header.strip(b"\0"):
            # What follows the first empty block is padding.
            return None
        if len(header) < _BLOCK:
            raise self._damaged("its last header is cut off")
        if _number(header[148:156]) != sum(header[:148]) + 8 * 32 + sum(header[156:]):
            raise self._damaged("the checksum of a header is wrong; is it a tar archive?")
        return header

    def _extended(self, header: bytes) -> dict[str, str]:
        size = self._size(header)
        if size > _MAX_EXTENDED_BYTES:
            raise self._damaged(f"an extended header has {size} bytes, more than {_MAX_EXTENDED_BYTES}")
        data = self._exactly(size)
        self._padding = -size % _BLOCK
        kind = header[156:157]
        if kind in b"LK":
            return {"path" if kind == b"L" else "linkpath": _text(data)}
        return _pax_records(data, self) if kind == b"x" else {}

    def _entry(self, header: bytes, extended: dict[str, str]) -> Entry:
        kind = _KINDS.get(header[156:157])
        path = extended.get("path") or _header_path(header)
        if kind is None or any(key.startswith("GNU.sparse") for key in extended):
            raise self._damaged(f"entry {path!r} has a type that is not supported: {header[156:157]!r}")
        size = self._size(header, extended.get("size"))
        target = extended.get("linkpath") or _text(header[157:257])
        if max(len(path), len(target)) > _MAX_PATH:
            raise self._damaged(f"a path has more than {_MAX_PATH} characters")
        # Only files have content: some writers leave the target's size in the header of a link.
        self._left = size if kind == "file" else 0
        self._padding = -self._left % _BLOCK
        if kind == "file" and path.endswith("/"):
            kind = "directory"
        return Entry(
            self.normal_path(path),
            kind,
            mode=_number(header[100:108]) & 0o7777,
            uid=_number(header[108:116]),
            size=self._left,
            target=self.normal_path(target) if kind == "hardlink" else target,
            has_capabilities=_CAPABILITY in extended,
        )

    def normal_path(self, path: str) -> str:
        """Return a path without `.` and superfluous slashes.

        Raises:
            ImageError: It contains `..`.
        """
        parts = [part for part in path.split("/") if part not in {"", "."}]
        if ".." in parts:
            raise self._damaged(f"the path {path!r} contains `..`")
        return "/".join(parts)

    def _size(self, header: bytes, extended: str | None = None) -> int:
        size = (
            _number(header[124:136])
            if extended is None
            else int(extended)
            if _SIZE.fullmatch(extended)
            else -1
        )
        if not 0 <= size < 1 << 62:
            raise self._damaged("the size of an entry is not valid")
        return size

    def _exactly(self, size: int) -> bytes:
        parts = []
        while size:
            part = self._source.read(min(size, _CHUNK))
            if not part:
                raise self._damaged("it ends within an entry")
            parts.append(part)
            size -= len(part)
            self.offset += len(part)
        return b"".join(parts)

    def _damaged(self, problem: str) -> ImageError:
        return ImageError(f"the archive {self._name} cannot be read: {problem}")


def _header_path(header: bytes) -> str:
    name, prefix = _text(header[:100]), _text(header[345:500])
    # GNU's format uses the bytes of the prefix for other fields.
    return f"{prefix}/{name}" if prefix and header[257:263] == b"ustar\0" else name


def _pax_records(data: bytes, reader: TarReader) -> dict[str, str]:
    """Parse `LENGTH KEY=VALUE\\n` records (POSIX.1-2017, pax Extended Header)."""
    records = {}
    position = 0
    while position < len(data):
        space = data.find(b" ", position, position + 12)
        length = data[position:space] if space > 0 else b""
        end = position + int(length) if length.isdigit() else 0
        key, equals, value = data[space + 1 : end - 1].partition(b"=")
        if not equals or end > len(data) or data[end - 1 : end] != b"\n":
            raise reader._damaged("an extended header is not valid")  # noqa: SLF001 - of this module
        records[_text(key)] = _text(value)
        position = end
    return records


def _number(field: bytes) -> int:
    if field[0] in {0x80, 0xFF}:
        # Base 256, GNU's extension for values that do not fit.
        return int.from_bytes(field[1:], "big") - (1 << 8 * (len(field) - 1) if field[0] == 0xFF else 0)
    digits = field.strip(b" \0")
    try:
        return int(digits, 8) if digits else 0
    except ValueError:
        return -1


def _text(data: bytes) -> str:
    return data.split(b"\0", 1)[0].decode("utf-8", "backslashreplace")
