"""Wheels of the workspace, built once per test run, and commands that use them."""

import fcntl
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tools.examples import build_wheels

UV = os.environ.get("UV", "uv")  # set by `uv run`
# Those of the test process's own environment.
_NOT_INHERITED = {"VIRTUAL_ENV", "PYTHONPATH", "PYTEST_ADDOPTS", "PYTEST_CURRENT_TEST"}


def wheels_of_run(factory: pytest.TempPathFactory) -> Path:
    """Return the directory of the wheels, which the first process of pytest-xdist to call this builds."""
    base = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    directory, complete = base / "wheels", base / "wheels-complete"
    with (base / "wheels-lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not complete.exists():
            build_wheels(directory)
            complete.touch()
    return directory


def run(command: Sequence[str | Path], *, cwd: Path, env: Mapping[str, str] | None = None) -> str:
    """Run a command outside of this environment, and return its output.

    Raises:
        AssertionError: Its exit code is not 0; the message has the output.
    """
    inherited = {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED}
    environ = inherited | dict(env or {})
    done = subprocess.run(command, cwd=cwd, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout
