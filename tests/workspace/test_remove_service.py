"""`just remove-service` in copies of the workspace."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.registry import read

from ..support.workspace_copy import copied as copy_of_workspace
from ..support.workspace_copy import create_environment

NEEDED_SERVICES = ("accounts", "orders")

pytestmark = pytest.mark.timeout(600)

CHEAP = (
    "tests/workspace/test_links.py",
    "tests/workspace/test_openapi.py",
    "tests/workspace/test_registry.py",
    "tests/workspace/test_security_page.py",
    "tests/workspace/test_documented_defaults.py",
    "tests/deployment/test_compose.py",
    "tests/system/test_start.py",
    "tests/system/test_every_service.py",
)
"""Tests of the workspace without the service: those of its files, and a start of the others."""


class Workspace:
    """A copy of this workspace with an environment of its own."""

    def __init__(self, root: Path) -> None:
        self.root = copy_of_workspace(root)
        create_environment(root)

    def commit(self) -> None:
        self._git(
            "-c", "user.name=test", "-c", "user.email=test@example.com", "commit", "--quiet", "-m", "test"
        )

    def sync(self) -> None:
        assert self.run("uv", "sync", "--frozen", "--quiet").returncode == 0

    def reset(self) -> None:
        """Return to the first commit."""
        self._git("reset", "--quiet", "--hard")
        self._git("clean", "--quiet", "--force", "-d", "-x", "--exclude", ".venv", "-e", "__pycache__")
        self.sync()

    def run(self, *command: str, **env: str) -> subprocess.CompletedProcess[str]:
        environ = {
            name: value for name, value in os.environ.items() if not name.startswith(("VIRTUAL", "PYTEST"))
        }
        environ["PATH"] = f"{self.root}/.venv/bin:{environ['PATH']}"
        return subprocess.run(
            command,
            cwd=self.root,
            env=environ | env,
            capture_output=True,
            text=True,
            timeout=500,
            check=False,
        )

    def remove(self, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        return self.run(f"{self.root}/.venv/bin/python", "-m", "tools.remove_service", *arguments, **env)

    def changed(self) -> list[str]:
        """Return what differs from the commit, in the format of `git status`."""
        return self._git("status", "--porcelain", "-z", "--untracked-files=all")

    def files(self) -> dict[str, bytes]:
        """Return all files but those that git ignores."""
        names = self._git("ls-files", "-z", "--cached", "--others", "--exclude-standard")
        return {name: (self.root / name).read_bytes() for name in names if (self.root / name).is_file()}

    def _git(self, *arguments: str) -> list[str]:
        return self._git_in(self.root, *arguments)

    @staticmethod
    def _git_in(root: Path, *arguments: str) -> list[str]:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True)
        return [entry for entry in done.stdout.split("\0") if entry]


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return Workspace(tmp_path_factory.mktemp("workspace"))


@pytest.fixture
def workspace(copied: Workspace) -> Iterator[Workspace]:
    yield copied
    copied.reset()


@pytest.fixture(scope="module")
def without_orders(copied: Workspace) -> dict[str, bytes]:
    """The files after the removal of orders."""
    assert copied.remove("orders").returncode == 0
    files = copied.files()
    copied.reset()
    return files


def test_the_workspace_is_green_without_the_service(workspace: Workspace) -> None:
    (workspace.root / ".data/logs").mkdir(parents=True)
    data = [".data/logs/orders.log", ".data/orders.db", ".data/orders.db-wal"]
    for name in [*data, ".data/accounts.db"]:
        (workspace.root / name).touch()

    removed = workspace.remove("orders")

    assert removed.returncode == 0, removed.stderr
    assert f"to delete it: rm -rf {' '.join(data)}\n" in removed.stdout
    assert all((workspace.root / name).exists() for name in data)
    # Lines that mean the service, but not those of its own folder, nor the word of an example or a comment.
    references = removed.stdout.partition("still refer to it:\n")[2].partition("documentation")[0]
    assert "  tools/tour.sh: line 13, 19, 23, 24, 26 and " in references
    assert "services/orders" not in references
    assert "justfile" not in references
    assert removed.stdout.count("\n", removed.stdout.index("still refer to it")) < 12
    assert removed.stdout.endswith("all lines with the word: git grep -nw orders\n")
    listed = workspace.run("python", "-c", "import importlib.metadata as m; m.distribution('orders')")
    assert "PackageNotFoundError" in listed.stderr
    for check in (
        ("uv", "lock", "--check", "--offline"),
        ("ruff", "format", "--check", "."),
        ("ruff", "check", "."),
        ("lint-imports",),
        ("python", "-m", "tools.generate", "--check"),
        ("python", "-m", "tools.checks.api_compatibility"),
        ("python", "-m", "tools.tour", "--check"),
    ):
        done = workspace.run(*check)
        assert done.returncode == 0, f"{check}\n{done.stdout}{done.stderr}"
    collected = workspace.run("pytest", "--collect-only", "--quiet", "tests", "services", "tests/drills")
    assert collected.returncode == 0, collected.stdout
    tested = workspace.run("pytest", "--quiet", "-n0", "-p", "no:cacheprovider", *CHEAP)
    assert tested.returncode == 0, tested.stdout
    left_out = workspace.run("pytest", "tests/workspace/test_tour.py")
    assert left_out.returncode == pytest.ExitCode.NO_TESTS_COLLECTED
    assert "no service 'orders', left out: " in left_out.stdout
    for command in (("python", "-m", "tools.tour"), ("bash", "deploy/smoke.sh", "http://127.0.0.1:1")):
        toured = workspace.run(*command)
        assert toured.returncode == 1
        assert toured.stderr.startswith("the tour uses orders, which this workspace does not have")


NAMES = ", ".join(sorted(service.name for service in read()))
CALLER = min(service.name for service in read() if "accounts" in service.calls)
CALLED = (
    f"services/{CALLER}/pyproject.toml: [tool.starkeel] calls: {CALLER} calls accounts: remove"
    f" 'accounts' from it and from the code, or run `just remove-service {CALLER}` first\n"
)
EDITED = (
    "services/orders/README.md: not committed: commit the changes, or move them to .data/removed by"
    " `just remove-service orders --force`\n"
)
UNGENERATED = (
    "the files without orders cannot be generated; nothing was changed: deploy/proxy/plain.cfg: nothing"
    " generates 'nothing'; known: "
)
REGION = "# generated from the registry: nothing\n# end of the generated part\n"


@pytest.mark.parametrize(
    ("name", "edits", "message"),
    [
        ("order", {}, f"there is no service 'order'; services: {NAMES}\n"),
        ("../orders", {}, f"there is no service '../orders'; services: {NAMES}\n"),
        ("accounts", {}, CALLED),
        ("orders", {"services/orders/README.md": "# Mine\n"}, EDITED),
        ("orders", {"services/orders/src/orders/notes.py": ""}, "src/orders/notes.py: not committed: "),
        (
            "orders",
            {"services/accounts/pyproject.toml": "[tool"},
            "accounts/pyproject.toml: is not valid TOML",
        ),
        ("orders", {"deploy/proxy/plain.cfg": REGION}, UNGENERATED),
    ],
)
def test_a_removal_is_refused_and_nothing_is_changed(
    workspace: Workspace, name: str, edits: dict[str, str], message: str
) -> None:
    for file, text in edits.items():
        (workspace.root / file).write_text(text)
    before = workspace.files()

    done = workspace.remove(name)

    assert done.returncode == 2, done.stdout
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert workspace.files() == before


def test_nothing_is_changed_if_the_lock_cannot_be_written(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "uv").write_text("#!/bin/sh\necho no route to host >&2\nexit 1\n")
    (tmp_path / "uv").chmod(0o755)
    before = workspace.files()

    done = workspace.remove("orders", PATH=f"{tmp_path}:{os.environ['PATH']}")

    assert done.returncode == 2
    assert done.stderr == "uv.lock cannot be written; nothing was changed: no route to host\n"
    assert workspace.files() == before


def test_a_removal_is_refused_while_just_dev_runs_the_service(workspace: Workspace) -> None:
    (workspace.root / ".data").mkdir()
    (workspace.root / ".data/dev.json").write_text(json.dumps([os.getpid(), 3000, 9090]))
    before = workspace.files()

    done = workspace.remove("orders")

    assert done.returncode == 2
    assert done.stderr == (
        "`just dev` runs the services of this workspace: stop it first; nothing is removed\n"
    )
    assert workspace.files() == before


def test_the_only_service_stays(workspace: Workspace) -> None:
    for folder in (workspace.root / "services").glob("[!a]*"):
        shutil.rmtree(folder)

    done = workspace.remove("accounts")

    assert done.returncode == 2
    assert "services/accounts is the only service, and a workspace needs one" in done.stderr


@pytest.mark.parametrize("left", ["nothing", "a folder"])
def test_a_service_that_is_half_removed_is_removed(
    workspace: Workspace, without_orders: dict[str, bytes], left: str
) -> None:
    shutil.rmtree(workspace.root / "services/orders")
    if left == "a folder":
        (workspace.root / "services/orders/src/orders/__pycache__").mkdir(parents=True)
        (workspace.root / "services/orders/src/orders/__pycache__/app.pyc").touch()

    done = workspace.remove("orders")

    assert done.returncode == 0, done.stderr
    assert workspace.files() == without_orders
    assert not (workspace.root / "services/orders").exists()


def test_edits_are_moved_aside_on_request(workspace: Workspace, without_orders: dict[str, bytes]) -> None:
    (workspace.root / "services/orders/README.md").write_text("# Mine\n")

    done = workspace.remove("orders", "--force")

    assert done.returncode == 0, done.stderr
    [kept] = (workspace.root / ".data/removed").rglob("*.md")
    assert kept.read_text() == "# Mine\n"
    assert workspace.files() == without_orders


def test_a_service_that_was_never_committed_is_removed_without_a_trace(workspace: Workspace) -> None:
    entry = "[tool.starkeel]\nport = 3999\nadmin_port = 9999\npaths = ['/api/notes']\n"
    source = workspace.root / "services/notes/src/notes"
    source.mkdir(parents=True)
    (source / "__init__.py").write_text('"""Notes."""\n')
    project = f'[project]\nname = "notes"\nversion = "0.1.0"\nrequires-python = ">=3.11"\n\n{entry}'
    (workspace.root / "services/notes/pyproject.toml").write_text(project)
    assert workspace.run("python", "-m", "tools.generate", "fleet").returncode == 0
    assert workspace.run("uv", "lock", "--quiet").returncode == 0
    assert "pyproject.toml" in "".join(workspace.changed())

    done = workspace.remove("notes")

    assert done.returncode == 0, done.stderr
    assert workspace.changed() == []
    assert len(list((workspace.root / ".data/removed").rglob("__init__.py"))) == 1
