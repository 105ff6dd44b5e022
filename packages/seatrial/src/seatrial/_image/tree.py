"""File tree of an image: layers merged with whiteouts, as a container runtime applies them.

Source: https://github.com/opencontainers/image-spec/blob/main/layer.md
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from .errors import ImageError
from .tar import Entry, Kind

_WHITEOUT: Final = ".wh."
_OPAQUE: Final = ".wh..wh..opq"
_MAX_LINKS: Final = 40
"""Symbolic links that Linux follows in one path."""
_MAX_DEPTH: Final = 256


@dataclass(slots=True)
class File:
    """A file, directory or link of the tree.

    Attributes:
        layer: Index of the layer that the file is in.
        target: Target of a symbolic link.
        head: Start of the content, if it was requested.
    """

    kind: Kind
    layer: int
    mode: int = 0o755
    uid: int = 0
    size: int = 0
    target: str = ""
    has_capabilities: bool = False
    head: bytes = b""
    children: "dict[str, File]" = field(default_factory=dict, repr=False)

    @property
    def is_program(self) -> bool:
        """Whether it is a regular file that can be executed."""
        return self.kind == "file" and bool(self.mode & 0o111)


class Tree:
    """Files of an image.

    Args:
        max_files: Largest number of files; more are an error, because all are kept in memory.
    """

    def __init__(self, *, max_files: int = 400_000) -> None:
        self.root = File("directory", layer=-1)
        self.wasted: dict[str, int] = {}
        """Bytes of files that are removed or replaced by a later layer, by path."""
        self._max_files = max_files
        self._files = 0

    def add(self, entry: Entry, *, layer: int) -> File | None:
        """Apply an entry of a layer and return its file, or `None` for a whiteout.

        Raises:
            ImageError: A link or its directory cannot be resolved, or there are too many files.
        """
        parent_path, _, name = entry.path.rpartition("/")
        if name == _OPAQUE:
            directory = self._directory(parent_path, layer)
            for child in list(directory.children):
                self._remove(directory, child, path=parent_path, before=layer)
            return None
        if name.startswith(_WHITEOUT):
            parent = self._directory(parent_path, layer)
            self._remove(parent, name.removeprefix(_WHITEOUT), path=parent_path, before=layer)
            return None
        if not name:
            self.root.mode, self.root.uid = entry.mode, entry.uid
            return self.root
        return self._put(self._directory(parent_path, layer), name, parent_path, entry=entry, layer=layer)

    def find(self, path: str) -> File | None:
        """Return the file at a path with all symbolic links followed, or `None`."""
        return self._resolve(path)

    def walk(self) -> Iterator[tuple[str, File]]:
        """Yield every file with its path, without a leading slash, parents first."""
        pending = [("", self.root)]
        while pending:
            prefix, directory = pending.pop()
            for name, file in directory.children.items():
                path = f"{prefix}{name}"
                yield path, file
                if file.children:
                    pending.append((f"{path}/", file))

    def _put(self, parent: File, name: str, parent_path: str, *, entry: Entry, layer: int) -> File:
        old = parent.children.get(name)
        if entry.kind == "directory" and old is not None and old.kind == "directory":
            old.mode, old.uid, old.layer = entry.mode, entry.uid, layer
            return old
        file = self._new(entry, layer)
        if old is not None and old is not file:
            self._remove(parent, name, path=parent_path, before=layer + 1, wasted_before=layer)
        parent.children[name] = file
        return file

    def _new(self, entry: Entry, layer: int) -> File:
        self._count()
        if entry.kind != "hardlink":
            return File(
                entry.kind,
                layer,
                mode=entry.mode,
                uid=entry.uid,
                size=entry.size,
                target=entry.target,
                has_capabilities=entry.has_capabilities,
            )
        linked = self._resolve(entry.target, follow_last=False)
        if linked is None or linked.kind == "directory":
            raise ImageError(f"the hard link {entry.path!r} refers to {entry.target!r}, which is not a file")
        # The content is counted once.
        return File(
            linked.kind,
            layer,
            mode=linked.mode,
            uid=linked.uid,
            target=linked.target,
            has_capabilities=linked.has_capabilities,
            head=linked.head,
        )

    def _count(self) -> None:
        self._files += 1
        if self._files > self._max_files:
            raise ImageError(f"the layers have more than {self._max_files} files, the limit of the reader")

    def _directory(self, path: str, layer: int) -> File:
        """Return the directory at a path, with links followed and missing directories created."""
        found = self._resolve(path, create_in=layer)
        if found is None or found.kind != "directory":
            raise ImageError(f"a layer has files in {path!r}, which is not a directory")
        return found

    def _resolve(self, path: str, *, follow_last: bool = True, create_in: int | None = None) -> File | None:
        """Follow a path from the root; `..` and absolute links stay below the root, as in a container."""
        stack = [self.root]
        pending = path.split("/")[::-1]
        links = 0
        while pending:
            part = pending.pop()
            if part == ".." and len(stack) > 1:
                stack.pop()
            if part in {"", ".", ".."}:
                continue
            if (file := self._child(stack[-1], part, depth=len(stack), create_in=create_in)) is None:
                return None
            if file.kind == "symlink" and (pending or follow_last):
                links += 1
                if links > _MAX_LINKS:
                    return None
                stack = stack[:1] if file.target.startswith("/") else stack
                pending.extend(file.target.split("/")[::-1])
            else:
                stack.append(file)
        return stack[-1]

    def _child(self, directory: File, name: str, *, depth: int, create_in: int | None) -> File | None:
        if depth > _MAX_DEPTH:
            raise ImageError(f"a path has more than {_MAX_DEPTH} directories, the limit of the reader")
        file = directory.children.get(name)
        if file is None and create_in is not None and directory.kind == "directory":
            self._count()
            file = directory.children[name] = File("directory", create_in)
        return file

    def _remove(
        self, parent: File, name: str, *, path: str, before: int, wasted_before: int | None = None
    ) -> None:
        """Remove what layers before `before` have put at a name; a whiteout spares files of its own layer."""
        file = parent.children.get(name)
        if file is None:
            return
        path = f"{path}/{name}".lstrip("/")
        for child in list(file.children):
            self._remove(file, child, path=path, before=before, wasted_before=wasted_before)
        if file.layer >= before or file.children:
            return
        del parent.children[name]
        if file.size and file.layer < (before if wasted_before is None else wasted_before):
            self.wasted[path] = self.wasted.get(path, 0) + file.size
