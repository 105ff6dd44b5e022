"""The diffs of `docs/adopt.md`, from the directories in `examples/`."""

import difflib
import tomllib
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from ..examples import names
from ..registry import ROOT
from .markdown_regions import filled


class Step(NamedTuple):
    """A step from one example to the next.

    Attributes:
        before: Name of the example that is changed.
        after: Name of the result.
    """

    before: str
    after: str

    def diff(self, root: Path = ROOT) -> str:
        """Return the changes of the application's code."""
        before, after = (_code(root / "examples" / name) for name in self)
        return "".join(
            line
            for path in sorted({*before, *after})
            for line in difflib.unified_diff(
                before.get(path, "").splitlines(keepends=True),
                after.get(path, "").splitlines(keepends=True),
                path if path in before else "/dev/null",
                path if path in after else "/dev/null",
                n=2,
            )
        )

    def commands(self, root: Path = ROOT) -> str:
        """Return the commands that change the dependencies."""
        before, after = (_dependencies(root / "examples" / name) for name in self)
        changes = (("remove", before - after), ("add", after - before))
        return "\n".join(f"uv {verb} {' '.join(sorted(changed))}" for verb, changed in changes if changed)


STEPS = [Step(before, after) for before, after in pairwise(names())]


def files(root: Path) -> dict[Path, str | None]:
    """Return the guide by path; nothing without it.

    Raises:
        SystemExit: The guide has no part for a step.
    """
    path = root / "docs" / "adopt.md"
    if not path.exists():
        return {}
    parts = {
        step.after: f"```sh\n{step.commands(root)}\n```\n\n```diff\n{step.diff(root)}```" for step in STEPS
    }
    return {path: filled("docs/adopt.md", path.read_text("utf-8"), parts)}


def _code(example: Path) -> dict[str, str]:
    return {
        path.relative_to(example).as_posix(): path.read_text("utf-8")
        for path in (example / "shop").rglob("*.py")
    }


def _dependencies(example: Path) -> set[str]:
    project = tomllib.loads((example / "pyproject.toml").read_text("utf-8"))["project"]
    return {requirement.partition(">=")[0] for requirement in project["dependencies"]}
