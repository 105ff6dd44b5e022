"""Write a set of files, all or none."""

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path


def write(changes: Mapping[Path, str | None], root: Path) -> list[str]:
    """Write the files and return a line about each.

    Every text is first written to a file beside its target; only when that has succeeded for all of them are
    they renamed, so a full disk or a missing permission leaves everything unchanged.

    Args:
        changes: Texts by path; `None` removes the file, and folders that are empty then.
        root: Folder that the lines are relative to.

    Raises:
        OSError: A file could not be written; none was.
    """
    drafts: dict[Path, Path] = {}
    try:
        for path, text in changes.items():
            if text is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                drafts[path] = path.with_name(f".{path.name}.draft")
                drafts[path].write_text(text, encoding="utf-8")
                if path.exists():
                    drafts[path].chmod(path.stat().st_mode)
    except OSError:
        for path, draft in drafts.items():
            draft.unlink(missing_ok=True)
            _remove_empty(path.parent, root)
        raise
    return list(_apply(changes, drafts, root))


def _apply(changes: Mapping[Path, str | None], drafts: Mapping[Path, Path], root: Path) -> Iterator[str]:
    for path, text in changes.items():
        if text is None:
            path.unlink()
            _remove_empty(path.parent, root)
        else:
            os.replace(drafts[path], path)
        yield f"{'removed' if text is None else 'wrote'} {path.relative_to(root)}"


def _remove_empty(folder: Path, root: Path) -> None:
    with suppress(OSError):
        while folder != root:
            folder.rmdir()
            folder = folder.parent
