"""`just rename-workspace` in a copy of this workspace."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tools.rename.__main__ import _replace
from tools.rename.records import read_records, write_records
from tools.rename.words import Words
from tools.service_template.options import Options
from tools.service_template.record import Record, recorded
from tools.service_template.render import render

from ..support.workspace_copy import ISSUERS, commit, copied, create_environment

ROOT = Path(__file__).parents[2]
OLD = "starkeel"  # for rename-workspace
NEW = "acme"  # for rename-workspace
LONGER = "zebranowood"  # for rename-workspace

pytestmark = pytest.mark.timeout(900)


class Workspace:
    """A copy of the files in git, committed, with an environment of its own."""

    def __init__(self, root: Path) -> None:
        self.root = copied(root)
        self.git("config", "user.email", "ada@example.com")
        self.git("config", "user.name", "Ada")
        create_environment(root)

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return self._run(self.root, *command)

    def python(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run(str(self.root / ".venv/bin/python"), *arguments)

    def rename(self, name: str) -> subprocess.CompletedProcess[str]:
        return self.python("-m", "tools.rename", name)

    def git(self, *arguments: str) -> str:
        done = self.run("git", *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def commit(self) -> str:
        """Commit everything and return the id of the tree."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "A change")
        return self.git("rev-parse", "HEAD^{tree}").strip()

    def is_clean(self) -> bool:
        return self.git("status", "--porcelain") == "" and len(self.git("worktree", "list").splitlines()) == 1

    @staticmethod
    def _run(cwd: Path, *command: str) -> subprocess.CompletedProcess[str]:
        environ = {
            name: value
            for name, value in os.environ.items()
            if name != "VIRTUAL_ENV" and not name.startswith(("PYTEST_", "GIT_"))
        }
        return subprocess.run(command, cwd=cwd, env=environ, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return Workspace(tmp_path_factory.mktemp("workspace"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Zinc", "cannot name the workspace: use 2 to 12 lower-case letters and digits"),
        ("zinc-corp", "cannot name the workspace"),
        ("7zinc", "cannot name the workspace"),
        ("a" * 60, "cannot name the workspace"),
        ("class", "is taken: it is a keyword of Python"),
        ("json", "is taken: it is a module of Python's standard library"),
        ("accounts", "is taken: services/accounts is a service"),
        ("litestar", "is taken: uv.lock has a package 'litestar'"),
        ("types", "is taken"),
        ("benchmarks", "a module 'benchmarks' is installed, or is in the workspace"),
        (OLD, f"the workspace has the name '{OLD}' already"),
        ("engine", "has the word 'engine' already, so that the rename could not be undone"),
    ],
)
def test_an_invalid_or_taken_name_is_refused(workspace: Workspace, name: str, message: str) -> None:
    refused = workspace.rename(name)

    assert refused.returncode == os.EX_USAGE
    assert message in refused.stderr
    assert workspace.is_clean()


def test_changes_that_are_not_committed_are_refused_and_kept(workspace: Workspace) -> None:
    draft = workspace.root / "draft.txt"
    draft.write_text("mine")

    refused = workspace.rename(NEW)

    assert refused.returncode == os.EX_USAGE
    assert "the tree has changes that are not committed: draft.txt; commit them" in refused.stderr
    assert draft.read_text() == "mine"
    draft.unlink()
    assert workspace.is_clean()


def test_a_name_with_which_a_check_fails_changes_nothing(workspace: Workspace) -> None:
    file = workspace.root / "tools" / "long_line.py"
    # It has the length that the linter allows, and exceeds it with a longer name.
    file.write_text(f"# {OLD} ".ljust(109, "x") + "\n")
    tree = workspace.commit()

    refused = workspace.rename(LONGER)

    assert refused.returncode == os.EX_USAGE
    assert "fails with the new name, and nothing has changed" in refused.stderr
    assert "tools/long_line.py:1:111" in refused.stderr
    assert workspace.is_clean()
    assert workspace.git("write-tree").strip() == tree
    file.unlink()
    workspace.commit()


def test_a_renamed_workspace_passes_checks_and_tests_and_the_reverse_restores_it(
    workspace: Workspace,
) -> None:
    before = workspace.git("rev-parse", "HEAD^{tree}").strip()

    renamed = workspace.rename(NEW)

    assert renamed.returncode == 0, f"{renamed.stdout}{renamed.stderr}"
    workspace.commit()
    assert [name for name in workspace.git("ls-files").splitlines() if OLD in name.lower()] == []
    lines = workspace.git("grep", "--ignore-case", OLD).splitlines()
    # The holders of the copyright stay.
    left = {line.partition(":")[0] for line in lines if "contributors" not in line}
    assert left <= set(_SHOWING)
    assert not list(workspace.root.glob(f"packages/*/src/{OLD}*"))
    installed = workspace.run("uv", "pip", "list").stdout
    assert f"{NEW}-server" in installed
    assert OLD not in installed
    for command in (
        ("uv", "lock", "--check", "--offline"),
        ("uv", "run", "--frozen", "lint-imports"),
        *(
            ("uv", "run", "--frozen", "python", "-m", *module.split())
            for module in ("tools.checks.words", "tools.generate --check", "tools.tour --check", "vulture")
        ),
        ("uv", "run", "--frozen", "pytest", "-n0", "-q", *_TESTS),
    ):
        done = workspace.run(*command)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"

    reversed_ = workspace.rename(OLD)

    assert reversed_.returncode == 0, f"{reversed_.stdout}{reversed_.stderr}"
    assert workspace.commit() == before


_SHOWING = {"tests/workspace/test_rename.py"}
"""Files that have the name beside `rename-workspace`."""
_TESTS = (
    "packages/config/tests/test_config_load.py",
    "packages/testing/tests/test_testing_leaks.py",
    "tests/workspace/test_quick_start.py",
    "tests/workspace/test_registry.py",
    "tests/deployment/test_compose.py",
)
"""A service process, metrics, the pytest plugin, the registry and generated files."""


def test_a_service_from_the_template_is_current_after_the_rename(tmp_path: Path) -> None:
    root = copied(tmp_path)
    options = Options(
        name="warehouse", resource="item", needs=["database", "redis", "tokens"], calls=ISSUERS,
        issuer="accounts", port=3900, admin_port=9900,
    )  # fmt: skip
    rendered = render(options, root)
    folder = root / "services/warehouse"
    files = {name: text.encode() for name, text in rendered.items()} | Record(options, rendered).files()
    edited = "README.md"
    files[edited] += f"\nIt runs on {OLD}.\n".encode()
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    commit(root)
    words = Words(OLD, LONGER)

    records = read_records(root)
    _replace(root, words)
    for ruff in (("check", "--quiet", "--select", "I", "--fix", "."), ("format", "--quiet", ".")):
        subprocess.run([sys.executable, "-m", "ruff", *ruff], cwd=root, check=True)
    write_records(root, records, words)

    record = recorded(folder)
    assert record is not None
    assert record.options == options
    assert any(LONGER in text for text in record.rendered.values())
    assert record.rendered == render(options, root)
    own = {name: (folder / name).read_text() for name in record.rendered}
    assert own.pop(edited) == f"{record.rendered[edited]}\nIt runs on {LONGER}.\n"
    assert own == {name: text for name, text in record.rendered.items() if name != edited}
