"""A sample service, and pytest runs in child processes."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from shutil import rmtree
from typing import Any
from uuid import uuid4

import pytest
from starkeel_testing import wait_until

APP = Path(__file__).with_name("sample.py.txt").read_text()

MAIN = """
from starkeel_server import Service, run

if __name__ == "__main__":
    run(Service(name="sample", settings="sample.app:AllSettings", app="sample.app:create_app"))
"""


# A shell starts background jobs with SIGINT ignored, which child processes inherit.
PYTEST = """
import signal, sys, pytest
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.exit(pytest.main())
"""


@pytest.fixture
def sample_env(tmp_path: Path) -> dict[str, str]:
    """Environment for `running("sample", ...)`."""
    package = tmp_path / "importable" / "sample"
    package.mkdir(parents=True)
    for name, text in (("__init__", ""), ("__main__", MAIN), ("app", APP)):
        (package / f"{name}.py").write_text(text)
    return {"PYTHONPATH": str(package.parent)}


@pytest.fixture
def alive() -> Callable[[int], list[int]]:
    """Return the running processes of a group, without zombies."""

    def of(group: int) -> list[int]:
        stats = [_read(entry / "stat").rpartition(b")")[2].split() for entry in _processes()]
        return [int(stat[2]) for stat in stats if stat and int(stat[2]) == group and stat[0] != b"Z"]

    return of


class Runs:
    """Runs pytest on one test file, in one temporary directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.tmp = directory / "tmp"
        self.tmp.mkdir(mode=0o755)
        self._marker = uuid4().hex

    def start(
        self, tests: str, *arguments: str, env: Mapping[str, str] | None = None
    ) -> "subprocess.Popen[str]":
        (self.directory / "test_inner.py").write_text(tests)
        options = ["-p", "no:cacheprovider", "-q", "-s", "-W", "error", *arguments]
        inherited = {
            name: value for name, value in os.environ.items() if name not in {"CI", "PYTEST_ADDOPTS"}
        }
        return subprocess.Popen(
            [sys.executable, "-c", PYTEST, "test_inner.py", *options],
            cwd=self.directory,
            env={
                **{name: value for name, value in inherited.items() if not name.startswith("STARKEEL_TEST_")},
                "TMPDIR": str(self.tmp),
                "PYTEST_XDIST_AUTO_NUM_WORKERS": "2",
                "STARKEEL_MARKER": self._marker,
                **(env or {}),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def __call__(self, tests: str, *arguments: str, env: Mapping[str, str] | None = None) -> tuple[int, str]:
        process = self.start(tests, *arguments, env=env)
        output, _ = process.communicate(timeout=100)
        return process.returncode, output

    def left(self) -> list[str]:
        """Return the running processes of the run, and the files except pytest's own."""
        processes = [
            _read(entry / "cmdline").decode() for entry in _processes() if self._is_of_the_run(entry)
        ]
        return processes + [
            path.name for path in self.tmp.iterdir() if not path.name.startswith("pytest-of-")
        ]

    def wait_until_nothing_is_left(self) -> None:
        wait_until(
            lambda: not self.left(),
            timeout_s=60,
            what=lambda: f"the end of {self.left()}",
        )

    def _is_of_the_run(self, entry: Path) -> bool:
        try:
            cwd = (entry / "cwd").readlink()
        except OSError:
            return False  # it has ended meanwhile
        return cwd.is_relative_to(self.directory) or self._marker.encode() in _read(entry / "environ")


def _processes() -> list[Path]:
    return [entry for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""  # it has ended meanwhile


@pytest.fixture
def runs() -> Iterator[Runs]:
    # Not in pytest's own directory, which an unprivileged PostgreSQL cannot enter.
    directory = Path(tempfile.mkdtemp(prefix="starkeel-runs-"))
    directory.chmod(0o755)
    (directory / "pytest.ini").write_text(
        "[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n"
    )
    yield Runs(directory)
    rmtree(directory)


@pytest.fixture
def sql() -> Callable[..., Any]:
    """Execute a query and return the first row's first value."""
    import asyncio

    import asyncpg

    async def execute(url: str, statement: str) -> Any:
        connection = await asyncpg.connect(url)
        try:
            return await connection.fetchval(statement)
        finally:
            await connection.close()

    return lambda url, statement: asyncio.run(execute(url, statement))
