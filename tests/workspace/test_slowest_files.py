"""The list of the slowest files at the end of `just test`."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Literal

import pytest

from tools.slowest_files import durations

ROOT = Path(__file__).parents[2]
FAILING = """
import pytest

@pytest.mark.parametrize("number", range(2))
def test_number(number):
    assert number < 1
"""


def report(test: str, when: Literal["setup", "call", "teardown"], seconds: float) -> pytest.TestReport:
    return pytest.TestReport(test, (test, None, ""), {}, "passed", None, when, duration=seconds)


def run(directory: Path, *arguments: str) -> str:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "tools.slowest_files", "-p", "no:cacheprovider", *arguments],
        cwd=directory, env=environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stdout
    return done.stdout


def test_files_have_the_seconds_of_their_tests_and_fixtures_the_slowest_first() -> None:
    reports = [
        report("quick.py::test", "setup", 0.5),
        report("quick.py::test", "call", 1),
        report("slow.py::test[1]", "setup", 2),
        report("slow.py::test[1]", "call", 0),
        report("slow.py::test[2]", "call", 0),
        report("slow.py::test[2]", "teardown", 4),
    ]

    assert durations(reports) == [(6, 2, "slow.py"), (1.5, 1, "quick.py")]


def test_the_files_of_all_processes_are_listed(tmp_path: Path) -> None:
    (tmp_path / "test_a.py").write_text("def test_passes(): pass")
    (tmp_path / "test_b.py").write_text(FAILING)

    listed = run(tmp_path, "--numprocesses", "2", "--dist", "loadfile").partition("slowest files")[2]

    rows = re.findall(r"^ *[\d.]+ s +(\d+) tests  (.+)$", listed, re.MULTILINE)
    assert sorted(rows) == [("1", "test_a.py"), ("2", "test_b.py")]
    assert re.search(r"^ *[\d.]+ s  in all 2 files, ", listed, re.MULTILINE)


def test_a_run_of_one_file_has_no_list(tmp_path: Path) -> None:
    (tmp_path / "test_b.py").write_text(FAILING)

    assert "slowest files" not in run(tmp_path)
