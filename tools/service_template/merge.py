"""Three-way merge of a service with the template's version of its files."""

import subprocess
import tempfile
from pathlib import Path
from typing import Final, NamedTuple

from .record import Record
from .render import TemplateError

_ERROR: Final = 128
"""`git merge-file` exits with the number of conflicts, at most 127, or with a higher status if it failed."""


class Merged(NamedTuple):
    """The result of a merge.

    Attributes:
        files: New contents by path in the folder of the service; `None` for a file that is removed.
        conflicts: Paths of the files with conflicts.
        notes: Paths, each with what to do by hand.
    """

    files: dict[str, bytes | None]
    conflicts: list[str]
    notes: list[str]


def merged(record: Record, today: dict[str, str], folder: Path) -> Merged:
    """Merge the changes of the template since the record into the files of a service.

    Migrations are not merged: databases have applied them.

    Args:
        record: The record of the service.
        today: The files as the template renders them now.
        folder: Folder of the service.

    Raises:
        TemplateError: A file cannot be merged.
    """
    result = Merged({}, [], [])
    for name in sorted(record.rendered.keys() | today.keys()):
        before, after = record.rendered.get(name), today.get(name)
        path = folder / name
        own = path.read_text("utf-8") if path.is_file() else None
        if before == after or own == after:
            continue
        if "/migrations/" in name:
            result.notes.append(f"{name}: not merged: write a migration with `just revision` if it is needed")
        elif own == before:
            result.files[name] = None if after is None else after.encode()
        elif own is None:
            result.notes.append(f"{name}: stays removed; the template has a later version")
        elif after is None:
            result.notes.append(f"{name}: kept, because it is edited; the template no longer has it")
        else:
            text, has_conflicts = _merged_text(own, before or "", after, name)
            result.files[name] = text.encode()
            if has_conflicts:
                result.conflicts.append(name)
    return result


def _merged_text(own: str, before: str, after: str, name: str) -> tuple[str, bool]:
    with tempfile.TemporaryDirectory() as directory:
        paths = [Path(directory) / each for each in ("own", "before", "after")]
        for path, text in zip(paths, (own, before, after), strict=True):
            path.write_text(text, "utf-8")
        labels = ["-L", name, "-L", "template before", "-L", "template now"]
        done = subprocess.run(
            ["git", "merge-file", "--stdout", *labels, *map(str, paths)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    if done.returncode >= _ERROR:
        raise TemplateError(f"{name}: cannot be merged: {done.stderr.strip()}")
    return done.stdout, done.returncode > 0
