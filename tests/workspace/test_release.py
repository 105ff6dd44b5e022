"""`just release` in a copy of this repository: refusals, all or nothing, and what a release contains."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
IDENTITY = {
    f"GIT_{role}_{field}": value
    for role in ("AUTHOR", "COMMITTER")
    for field, value in (("NAME", "Ada"), ("EMAIL", "ada@example.com"))
}
# Not the settings of the developer, such as signed commits.
ENVIRON = os.environ | IDENTITY | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}


def git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    done = subprocess.run(command, env=ENVIRON, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.strip()


def release(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tools.release", *arguments, "--root", str(root)]
    return subprocess.run(
        command, cwd=ROOT, env=ENVIRON, capture_output=True, text=True, timeout=580, check=False
    )


def tag_check(root: Path, tag: str, *options: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "tools.release.tag", tag, "--root", str(root), *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stderr


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def substitute(path: Path, pattern: str, new: str) -> None:
    text, count = re.subn(pattern, new, path.read_text("utf-8"), count=1, flags=re.MULTILINE)
    assert count == 1
    path.write_text(text, encoding="utf-8")


def committed(root: Path) -> Path:
    git(root, "init", "--quiet", "--initial-branch", "main")
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", "Begin")
    return root


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A repository that has only what refusals depend on, and that can release 0.2.0."""
    root = tmp_path / "small"
    project = '[project]\nname = "{}"\nversion = "0.1.0"\nrequires-python = ">=3.11"\n'
    settings = '[tool.starkeel-release]\nrepository = "https://code.example/team/chassis"\n'
    write(root / "pyproject.toml", project.format("workspace") + settings)
    write(root / "packages/shop/pyproject.toml", project.format("shop"))
    write(root / "CHANGELOG.md", "# Changelog\n\n## 0.1.0 - 2026-01-01\n\n### Added\n\n- All.\n")
    write(root / "changes/cart.added.md", "`shop.Cart`.\n")
    write(root / "docs/upgrade/0.1-to-0.2.md", "# From 0.1 to 0.2\n")
    write(root / ".gitignore", ".venv\n__pycache__\n")
    # What these do is tested with the whole workspace below.
    for module in ("generate/__main__", "checks/public_api", "checks/api_compatibility"):
        write(root / "tools" / f"{module}.py", "")
    subprocess.run(["uv", "lock", "--quiet", "--offline"], cwd=root, check=True, timeout=60)
    return committed(root)


CHANGES: dict[str, Callable[[Path], object]] = {
    "nothing": lambda root: None,
    "another branch": lambda root: git(root, "switch", "--quiet", "--create", "fix"),
    "the tag": lambda root: git(root, "tag", "v0.2.0"),
    "no fragment": lambda root: git(root, "rm", "--quiet", "-r", "changes"),
    "no guide": lambda root: git(root, "rm", "--quiet", "-r", "docs"),
    "no repository": lambda root: substitute(root / "pyproject.toml", "^repository = .*$", 'repository = ""'),
    "a later version": lambda root: substitute(root / "packages/shop/pyproject.toml", "0.1.0", "0.3.0"),
    "a broken version": lambda root: substitute(root / "packages/shop/pyproject.toml", "0.1.0", "0.1"),
    "a bullet": lambda root: write(root / "changes/cart.added.md", "- `shop.Cart`\n"),
    "an unknown kind": lambda root: write(root / "changes/cart.new.md", "`shop.Cart`.\n"),
    "an old entry": lambda root: substitute(root / "CHANGELOG.md", "^## 0.1.0", "## Unreleased\n\n## 0.1.0"),
    "a breaking fragment": lambda root: write(
        root / "changes/a.breaking.md", "`shop.Cart.add` is removed.\n"
    ),
    "a generator that fails": lambda root: write(
        root / "tools/generate/__main__.py", "raise SystemExit(3)\n"
    ),
}
"""Changes by name, most of which make a release impossible."""


def change(root: Path, what: str) -> None:
    CHANGES[what](root)
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--allow-empty", "--message", what)


def state(root: Path) -> list[str]:
    """Return what a release changes: branch, files, tags and work trees."""
    commands = ("rev-parse HEAD", "status --porcelain", "tag", "worktree list")
    return [git(root, *command.split()) for command in commands]


@pytest.mark.parametrize(
    ("what", "version", "problem"),
    [
        ("another branch", "0.2.0", "the branch is fix: releases are made on main: `git switch main`"),
        ("the tag", "0.2.0", "tag v0.2.0 exists: choose a later version"),
        ("no fragment", "0.2.0", "changes/: has no fragment: there is nothing to release"),
        ("no guide", "0.2.0", "docs/upgrade/0.1-to-0.2.md: is missing: write what users of 0.1 have to do"),
        ("no repository", "0.2.0", "repository: is empty: set it to the address of the repository"),
        ("a later version", "0.2.0", "packages/shop/pyproject.toml: version 0.3.0 is greater"),
        ("a broken version", "0.2.0", "packages/shop/pyproject.toml: version: '0.1' is not a version"),
        ("a bullet", "0.2.0", "changes/cart.added.md: '- `shop.Cart`'...: write sentences without bullets"),
        ("a bullet", "0.2.0", "changes/cart.added.md: '- `shop.Cart`'...: end the entry with a full stop"),
        ("an unknown kind", "0.2.0", "changes/cart.new.md: rename it to NAME.KIND.md; kinds: breaking, "),
        (
            "an old entry",
            "0.2.0",
            "CHANGELOG.md: move the entries of `Unreleased` to files changes/NAME.KIND.md",
        ),
        ("a breaking fragment", "0.1.1", "0.1.1: changes/*.breaking.md need version 0.2.0 or a later one"),
        ("nothing", "0.1.0", "0.1.0 is not greater than 0.1.0, the last version in CHANGELOG.md"),
        ("nothing", "0.0.9", "pyproject.toml: version 0.1.0 is greater: release 0.1.0 or a later one"),
        ("nothing", "0.2", "'0.2' is not a version: write three numbers, such as 0.2.0 (SemVer and PEP 440)"),
        ("nothing", "0.2.0-rc.1", "'0.2.0-rc.1' is not a version"),  # SemVer only
        ("nothing", "0.2.0rc1", "'0.2.0rc1' is not a version"),  # PEP 440 only
        ("nothing", "0.02.0", "'0.02.0' is not a version"),
    ],
)
def test_a_release_is_refused_with_the_reason_and_the_solution(
    small: Path, what: str, version: str, problem: str
) -> None:
    change(small, what)
    before = state(small)

    done = release(small, version)

    assert done.returncode != 0
    assert problem in done.stderr
    assert state(small) == before


def test_a_release_is_refused_in_a_tree_with_uncommitted_changes(small: Path) -> None:
    write(small / "new.txt", "")

    done = release(small, "0.2.0")

    assert done.returncode == 1
    assert "the work tree has uncommitted changes: commit or remove them (`git status`)" in done.stderr


def test_a_release_that_fails_leaves_nothing_behind(small: Path) -> None:
    change(small, "a generator that fails")
    before = state(small)

    done = release(small, "0.2.0")

    assert done.returncode == 1
    assert done.stderr == "`uv run --quiet --frozen python -m tools.generate` failed:\n"
    assert state(small) == before


def test_a_tag_that_cannot_be_made_leaves_nothing_behind(small: Path) -> None:
    git(small, "config", "tag.gpgSign", "true")
    git(small, "config", "gpg.program", "false")
    before = state(small)

    done = release(small, "0.2.0")

    assert done.returncode == 1
    assert "`git tag --annotate" in done.stderr
    assert state(small) == before


def test_a_trial_prints_the_release_and_changes_nothing(small: Path) -> None:
    before = state(small)

    trial = release(small, "0.2.0", "--dry-run")

    assert trial.returncode == 0, trial.stderr
    assert f"## 0.2.0 - {datetime.now(tz=UTC).date()}\n\n### Added\n\n- `shop.Cart`.\n" in trial.stdout
    assert re.search(r"^ packages/shop/pyproject.toml +\| 2 \+-$", trial.stdout, re.MULTILINE)
    assert state(small) == before

    done = release(small, "0.2.0")
    assert done.returncode == 0, done.stderr
    changelog = (small / "CHANGELOG.md").read_text("utf-8")
    assert [line for line in changelog.splitlines() if line.startswith("## ")] == [
        f"## 0.2.0 - {datetime.now(tz=UTC).date()}",
        "## 0.1.0 - 2026-01-01",
    ]


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with the files of this one, also those that are not committed yet."""
    root = tmp_path_factory.mktemp("repository")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).exists():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, root / name, follow_symlinks=False)
    substitute(
        root / "pyproject.toml", "^repository = .*$", 'repository = "https://code.example/team/chassis"'
    )
    write(root / "changes/a_test.security.md", "A sentence.\nAnother, with a [link](../docs/fleet.md).\n")
    # Generated from the address; the release itself must find nothing stale.
    subprocess.run([sys.executable, "-m", "tools.generate", "metadata"], cwd=root, check=True, timeout=60)
    return committed(root)


def next_minor(root: Path) -> tuple[str, str]:
    """Return the current version and the next minor one."""
    version = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    major, minor, _ = map(int, version.split("."))
    write(root / f"docs/upgrade/{major}.{minor}-to-{major}.{minor + 1}.md", "# Upgrade\n")
    git(root, "add", "--all")
    if git(root, "status", "--porcelain"):
        git(root, "commit", "--quiet", "--message", "Write the guide")
    return version, f"{major}.{minor + 1}.0"


@pytest.mark.timeout(600)
def test_a_release_has_one_version_the_changelog_and_what_is_released(repository: Path) -> None:
    old, new = next_minor(repository)
    before = git(repository, "rev-parse", "HEAD")

    done = release(repository, new)
    assert done.returncode == 0, done.stderr
    assert f"git push --atomic origin main v{new}" in done.stdout
    assert git(repository, "rev-parse", f"v{new}^{{commit}}") == git(repository, "rev-parse", "HEAD")
    assert git(repository, "rev-parse", "HEAD~1") == before
    assert git(repository, "status", "--porcelain") == ""
    assert len(git(repository, "worktree", "list").splitlines()) == 1
    assert_released(repository, old, new)
    assert tag_check(repository, f"v{new}", "--repository", "https://code.example/Team/Chassis") == (0, "")
    status, message = tag_check(repository, "v99.0.0", "--repository", "https://code.example/other")
    assert status == 1
    assert f"pyproject.toml: version {new} is not that of v99.0.0" in message
    assert f"the first section is that of version {new}, not of tag v99.0.0" in message
    assert "is not https://code.example/other, which publishes" in message


def assert_released(root: Path, old: str, new: str) -> None:
    bounds = f">={new},<{'.'.join([new.split('.')[0], str(int(new.split('.')[1]) + 1)])}"
    for path in [
        root / "pyproject.toml",
        *root.glob("packages/*/pyproject.toml"),
        *root.glob("services/*/pyproject.toml"),
    ]:
        assert tomllib.loads(path.read_text("utf-8"))["project"]["version"] == new
    dependencies = tomllib.loads((root / "packages/http/pyproject.toml").read_text("utf-8"))["project"]
    own = [each for each in dependencies["dependencies"] if each.startswith("starkeel-")]
    assert own
    assert all(each.endswith(bounds) for each in own)
    locked = tomllib.loads((root / "uv.lock").read_text("utf-8"))["package"]
    ours = {each["version"] for each in locked if each["source"].keys() & {"editable", "virtual"}}
    assert ours == {new}

    assert not (root / "changes").exists()
    changelog = (root / "CHANGELOG.md").read_text("utf-8")
    today = datetime.now(tz=UTC).date()
    assert re.search(rf"^## {re.escape(new)} - {today}\n\n### ", changelog, re.MULTILINE)
    assert "\n### Security\n\n- A sentence.\n  Another, with a [link](docs/fleet.md).\n" in changelog

    for document in (root / "docs/openapi").glob("*.json"):
        text = document.read_text("utf-8")
        assert json.loads(text)["info"]["version"] == new
        assert (document.parent / "released" / document.name).read_text("utf-8") == text
    snapshots = [*root.glob("packages/*/api.txt")]
    assert len(snapshots) == len([*root.glob("packages/*/pyproject.toml")])
    for snapshot in snapshots:
        assert snapshot.with_name("api.released.txt").read_bytes() == snapshot.read_bytes()
    assert old != new
