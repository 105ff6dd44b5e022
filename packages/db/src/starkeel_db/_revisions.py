"""Which revisions a service has, read off their files.

Alembic would import every one of them, and importing Alembic takes a tenth of a service's start: that is paid
where something is to be migrated, and not by each start of a service whose database lacks nothing.
"""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_NAMES = ("revision", "down_revision", "branch_labels", "depends_on")


def revisions_in_line(folder: Path) -> list[str] | None:
    """Return every revision, the oldest first.

    Args:
        folder: Where their files are.

    Returns:
        None when they are not one plain line, or not plainly written: Alembic knows what to make of it.
    """
    following: dict[Any, str] = {}
    try:
        for path in folder.glob("*.py"):
            if path.name != "__init__.py":
                told = dict(_told(path))
                if told.get("branch_labels") or told.get("depends_on") or told["down_revision"] in following:
                    return None
                following[told["down_revision"]] = told["revision"]
    except (KeyError, TypeError, ValueError, SyntaxError):
        return None
    line = []
    before = None
    while before in following:
        before = following.pop(before)
        line.append(before)
    return None if following else line


def _told(path: Path) -> Iterator[tuple[str, Any]]:
    """What a revision says of itself."""
    for node in ast.parse(path.read_bytes()).body:
        if isinstance(node, ast.Assign):
            targets, value = node.targets, node.value
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            targets, value = [node.target], node.value
        else:
            continue
        for target in targets:
            if isinstance(target, ast.Name) and target.id in _NAMES:
                yield target.id, ast.literal_eval(value)
