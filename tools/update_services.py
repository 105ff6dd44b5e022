"""Merge later versions of the template into the services that were made from it.

just update-services             merge, with conflicts marked as git does
just update-services --check     exit with 1 if the template has improvements that a service lacks
"""

import argparse
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from .registry import ROOT, RegistryError, read
from .scratch_workspace import StepError, applied, scratch_workspace
from .service_template.merge import Merged, merged
from .service_template.record import Record, RecordError, recorded
from .service_template.render import TemplateError, render

_REFUSED: Final = 2


class Drift(NamedTuple):
    """A service that was made from the template, and the template's files for it today."""

    name: str
    record: Record
    today: dict[str, str]

    @property
    def improved(self) -> list[str]:
        """Paths of files that the template has changed, added or removed since."""
        names = self.record.rendered.keys() | self.today.keys()
        return sorted(name for name in names if self.record.rendered.get(name) != self.today.get(name))

    def edited(self, folder: Path) -> int:
        """Return the number of files that the service has changed or removed."""
        return sum(_text(folder / name) != text for name, text in self.record.rendered.items())


def main() -> int:
    """Merge or check; return 1 for conflicts or a service that lacks improvements, 2 if it is refused."""
    given = _arguments()
    root: Path = given.root.resolve()
    try:
        drifts = list(_drifts(root))
        return _check(drifts, root) if given.check else _update(drifts, root)
    except (RegistryError, RecordError, TemplateError, StepError) as error:
        sys.stderr.write(f"update-services: {error}\n")
        return _REFUSED


def _drifts(root: Path) -> Iterator[Drift]:
    for service in read(root):
        record = recorded(root / "services" / service.name)
        if record is not None:
            yield Drift(service.name, record, render(record.options, root))


def _check(drifts: list[Drift], root: Path) -> int:
    is_current = True
    for drift in drifts:
        if drift.improved:
            is_current = False
            files = ", ".join(drift.improved)
            sys.stderr.write(
                f"services/{drift.name}: the template has later versions of {len(drift.improved)} files"
                f" ({files}): run `just update-services`\n"
            )
        edited = drift.edited(root / "services" / drift.name)
        sys.stdout.write(
            f"services/{drift.name}: {edited} of {len(drift.record.rendered)} files of the template edited\n"
        )
    return 0 if is_current else 1


def _update(drifts: list[Drift], root: Path) -> int:
    behind = [drift for drift in drifts if drift.improved]
    for drift in (drift for drift in drifts if not drift.improved):
        sys.stdout.write(f"services/{drift.name}: up to date\n")
    if not drifts:
        sys.stdout.write("no service was made from the template: `just new-service` makes one\n")
    if not behind:
        return 0
    _refuse_uncommitted(behind, root)
    results = {
        drift.name: merged(drift.record, drift.today, root / "services" / drift.name) for drift in behind
    }
    conflicts = [f"services/{name}/{path}" for name, result in results.items() for path in result.conflicts]
    with scratch_workspace(root) as scratch:
        for drift in behind:
            folder = Path("services") / drift.name
            record = Record(drift.record.options, drift.today)
            files = results[drift.name].files | record.files()
            scratch.write({folder / name: content for name, content in files.items()})
        if not conflicts:
            scratch.generate()
            scratch.lock()
        with applied(root, scratch.changes()):
            if not conflicts:
                _install(root)
    return _report(results, conflicts)


def _report(results: dict[str, Merged], conflicts: list[str]) -> int:
    for name, result in results.items():
        sys.stdout.write(f"services/{name}: {len(result.files)} files updated\n")
        for note in result.notes:
            sys.stdout.write(f"services/{name}/{note}\n")
    for path in conflicts:
        sys.stderr.write(f"{path}: conflict\n")
    if conflicts:
        sys.stderr.write("edit the marked lines, then run `uv lock` and `uv run python -m tools.generate`\n")
    return 1 if conflicts else 0


def _refuse_uncommitted(behind: list[Drift], root: Path) -> None:
    """Refuse to merge into uncommitted changes, which could not be distinguished from the merge."""
    folders = [f"services/{drift.name}" for drift in behind]
    command = ["git", "status", "--porcelain", "--", *folders]
    changed = subprocess.run(
        command, cwd=root, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    if changed:
        path = changed[0][3:]
        raise StepError(f"{path}: is not committed: commit it, so that the merge can be reviewed and undone")


def _install(root: Path) -> None:
    done = subprocess.run(
        ["uv", "sync", "--quiet", "--frozen"], cwd=root, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise StepError(f"`uv sync --frozen` failed: {done.stderr.strip()}")


def _text(path: Path) -> str | None:
    return path.read_text("utf-8") if path.is_file() else None


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="just update-services", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit with 1 if a service is behind"
    )
    parser.add_argument("--root", type=Path, default=ROOT, help="the workspace (this repository)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
