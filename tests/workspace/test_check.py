"""`just check` runs every check, also after one that fails."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from starkeel_testing import wait_until

from tools.check import STEPS
from tools.registry import ROOT
from tools.workspace import service_names

from ..support.workspace_copy import copied, run

SERVICE = service_names()[0]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copied(tmp_path_factory.mktemp("workspace"))


def test_the_checks_that_failed_are_listed_after_all_have_run(workspace: Path) -> None:
    file = workspace / "tools/draft.py"
    file.write_text('"""Draft."""\n\nimport os\nvalue  = 1\n')
    try:
        done = run(workspace, "check", "fragments", "format", "lint")
    finally:
        file.unlink()

    assert done.returncode == 1
    assert done.stdout.count("FAILED  ") == 2
    assert "ok      fragments" in done.stdout
    assert "tools/draft.py:3:8" in done.stdout
    summary = done.stdout.rpartition("\nfailed: ")[2].splitlines()
    assert summary[0].startswith("2 of 3 checks in ")
    assert [line.split()[0] for line in summary[1:3]] == ["format", "lint"]
    assert summary[2].endswith("uv run --frozen ruff check .")
    assert summary[3:] == ["again: uv run just check format lint"]


def test_what_a_tool_does_not_report_is_added_to_its_findings(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = workspace / f"services/{SERVICE}/src/{SERVICE}/draft.py"
    # The installed service is not that of the copy.
    monkeypatch.setenv("PYTHONPATH", str(file.parents[1]))
    file.write_text('"""A module without a layer."""\n')
    try:
        done = run(workspace, "check", "layers")
    finally:
        file.unlink()

    assert f"{SERVICE}.draft" in done.stdout
    assert "[tool.starkeel.layers] of services/NAME/pyproject.toml" in done.stdout


def test_bytecode_that_git_leaves_of_a_service_is_not_checked(workspace: Path) -> None:
    left = workspace / "services/removed/src/removed/__pycache__/app.cpython-311.pyc"
    left.parent.mkdir(parents=True)
    left.touch()
    command = [sys.executable, "-c", "from tools.check import STEPS; print(STEPS['types'].command)"]
    try:
        shown = subprocess.run(command, cwd=workspace, capture_output=True, text=True, check=True).stdout
    finally:
        shutil.rmtree(workspace / "services/removed")

    assert f"services/{SERVICE}/src" in shown
    assert "removed" not in shown


def test_a_success_is_a_line_for_each_check_and_a_summary(workspace: Path) -> None:
    done = run(workspace, "check", "fragments", "module-length")

    assert done.returncode == 0, done.stdout
    *lines, last = done.stdout.splitlines()
    assert sorted(line.split()[:2] for line in lines) == [["ok", "fragments"], ["ok", "module-length"]]
    assert last.startswith("passed: 2 checks in ")


def test_an_unknown_check_is_refused_with_those_that_exist(workspace: Path) -> None:
    done = run(workspace, "check", "typos")

    assert done.returncode == os.EX_USAGE
    assert done.stderr == f"there is no check 'typos'; checks: {', '.join(STEPS)}\n"


def test_ctrl_c_ends_the_checks(workspace: Path) -> None:
    # mypy without a cache of the copy takes long.
    process = subprocess.Popen(
        [sys.executable, "-m", "tools.check", "types"],
        cwd=workspace, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    with process:
        wait_until(
            lambda: psutil.Process(process.pid).children(), timeout_s=30, what="a process of the check"
        )
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        shown = process.communicate(timeout=30)

    assert process.returncode == 130
    assert "Traceback" not in shown[1]
    assert not [child for child in children if child.is_running()]


def test_every_tool_of_the_checks_exists() -> None:
    modules = [word for step in STEPS.values() for word in step.command.split() if word.startswith("tools.")]

    assert modules
    for module in modules:
        path = ROOT / module.replace(".", "/")
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), module
