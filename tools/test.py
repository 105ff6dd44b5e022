"""Run tests in parallel, after checking that their paths exist: workers start slowly and hide the error."""

import os
import subprocess
import sys
from difflib import get_close_matches
from pathlib import Path

from .registry import ROOT


def main() -> None:
    """Replace this process by pytest; exit with 64 if a path does not exist."""
    arguments = sys.argv[1:]
    for path in _paths(arguments):
        if not Path(path).exists():
            sys.stderr.write(f"there is no file or folder {path!r}{_advice(path)}\n")
            sys.exit(os.EX_USAGE)
    # In the order of `testpaths`: by their numbers of tests, files with few long tests would be the last, and
    # one process would wait for the other.
    distribution = ["--numprocesses", _processes(), "--dist", "loadfile", "--no-loadscope-reorder"]
    command = [sys.executable, "-m", "pytest", "-p", "tools.slowest_files", *distribution, *arguments]
    os.execv(sys.executable, command)


def _processes() -> str:
    """Return one more than there are processors: a test often waits for a service, a timeout or a retry."""
    return str(len(os.sched_getaffinity(0)) + 1)


def _paths(arguments: list[str]) -> list[str]:
    """Return the paths: arguments before the first option, and later ones of their form."""
    first_option = next((i for i, each in enumerate(arguments) if each.startswith("-")), len(arguments))
    named = [
        each
        for i, each in enumerate(arguments)
        if i < first_option or (arguments[i - 1] not in _WITH_TEXT and _has_form_of_path(each))
    ]
    return [each.partition("::")[0] for each in named if each]


_WITH_TEXT = {"-k", "-m", "-p", "-o", "-c", "-W", "--deselect", "--ignore", "--ignore-glob", "--junit-xml"}


def _has_form_of_path(argument: str) -> bool:
    return not argument.startswith("-") and ("/" in argument or ".py" in argument)


def _advice(path: str) -> str:
    """Return which paths may be meant: those of the same or a similar name."""
    listed = subprocess.run(
        ["git", "ls-files", "packages", "services", "tests"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    ).stdout.splitlines()  # fmt: skip
    tests = [name for name in listed if "tests" in Path(name).parts and Path(name).name.startswith("test_")]
    folders = {str(parent) for name in tests for parent in Path(name).parents if parent.name == "tests"}
    units = {folder.removesuffix("/tests") for folder in folders}
    by_name = {Path(name).name: name for name in [*tests, *sorted(units)]}
    by_name |= {Path(name).stem: name for name in tests} | {unit: unit for unit in units}
    sought = path.rstrip("/")
    found = [
        match for form in (sought, Path(sought).name) for match in get_close_matches(form, by_name, 1, 0.75)
    ]
    return f"; similar: {by_name[found[0]]}" if found else f"; tests are in {', '.join(sorted(units))}"


if __name__ == "__main__":
    main()
