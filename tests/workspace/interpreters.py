"""Python interpreters of this machine, found without running them."""

import os
import re
import sys
from collections.abc import Collection, Iterator
from pathlib import Path

_VERSION = re.compile(r"3\.(\d+)(?:\.(\d+))?").fullmatch


def oldest_and_newest(classifiers: Collection[str]) -> dict[str, Path]:
    """Return the oldest and the newest interpreter by version; one if the machine has no other.

    Args:
        classifiers: Those of a package: another interpreter than the running one has a version among them.
    """
    found: dict[tuple[int, int], Path] = {}
    for version, path in _interpreters():
        if (
            version == sys.version_info[:2]
            or f"Programming Language :: Python :: {version[0]}.{version[1]}" in classifiers
        ):
            found.setdefault(version, path)
    return {f"{major}.{minor}": found[major, minor] for major, minor in sorted({min(found), max(found)})}


def _interpreters() -> Iterator[tuple[tuple[int, int], Path]]:
    """Yield interpreters, the running one first: of pyenv, uv, GitHub's runners and the system."""
    yield sys.version_info[:2], Path(sys.executable)
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    uv = Path(os.environ.get("UV_PYTHON_INSTALL_DIR", Path.home() / ".local/share/uv/python"))
    runner = Path(os.environ.get("RUNNER_TOOL_CACHE", "/opt/hostedtoolcache")) / "Python"
    for pattern, folder in (
        (pyenv, "*/bin"),
        (uv, "cpython-*/bin"),
        (runner, "*/x64/bin"),
        (Path("/usr"), "bin"),
    ):
        for path in sorted(pattern.glob(f"{folder}/python3.*")):
            # Not `python3.13-config`, and not the free-threaded `python3.13t`.
            version = _VERSION(path.name.removeprefix("python"))
            if version is not None:
                yield (3, int(version[1])), path
