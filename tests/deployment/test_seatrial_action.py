"""The GitHub Action of seatrial: linted, and its step run as a runner does."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]  # has no types

from .conftest import ROOT
from .test_workflows import ZIZMOR

ACTION = ROOT / "packages/seatrial/action.yml"


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """URL of the file server of the standard library."""
    command = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "-d", str(tmp_path)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert server.stdout is not None
        with closing(server.stdout) as output:
            yield output.readline().split("(")[1].split("/)")[0]
    finally:
        server.terminate()
        server.wait(30)


def run_step(folder: Path, arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run the step of the action with some arguments."""
    [step] = yaml.safe_load(ACTION.read_text("utf-8"))["runs"]["steps"]
    script = folder / "step.sh"
    script.write_text(step["run"])
    inherited = {name: os.environ[name] for name in ("PATH", "HOME", "PIP_INDEX_URL") if name in os.environ}
    env = inherited | {
        "ARGUMENTS": arguments,
        "PYTHON": sys.executable,
        "RUNNER_TEMP": str(folder),
        "GITHUB_ACTION_PATH": str(ACTION.parent),
        "GITHUB_OUTPUT": str(folder / "output"),
        "GITHUB_STEP_SUMMARY": str(folder / "summary"),
    }
    # As the runner calls bash for `shell: bash`.
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)


def test_zizmor_finds_nothing() -> None:
    found = subprocess.run([*ZIZMOR, ACTION], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr


@pytest.mark.timeout(300)
def test_the_step_judges_writes_reports_and_fails_as_seatrial_does(address: str, tmp_path: Path) -> None:
    done = run_step(tmp_path, f"check {address}\n--only edge-no-server-version\n--only edge-head\n")

    assert done.returncode == 1, done.stdout + done.stderr
    assert "FAIL  edge-no-server-version" in done.stdout
    reports = Path((tmp_path / "output").read_text().removeprefix("reports=").strip())
    assert sorted(path.suffix for path in reports.iterdir()) == [
        ".html",
        ".json",
        ".junit",
        ".markdown",
        ".sarif",
    ]
    rows = json.loads((reports / "report.json").read_text())["rows"]
    assert {row["id"]: row["verdict"] for row in rows} == {
        "edge-no-server-version": "fail",
        "edge-head": "pass",
    }
    assert "| **fail** | `edge-no-server-version` |" in (tmp_path / "summary").read_text()


@pytest.mark.timeout(300)
def test_the_step_fails_where_seatrial_cannot_run(tmp_path: Path) -> None:
    done = run_step(tmp_path, "run")

    assert done.returncode == 2
    assert "seatrial: nothing to run" in done.stderr
    assert not (tmp_path / "summary").exists()
