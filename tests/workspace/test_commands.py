"""`just` commands with arguments that are wrong or missing, and `just clean`."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tools.doctor import NEEDS
from tools.generate.__main__ import GENERATORS

from ..support.workspace_copy import copied

ROOT = Path(__file__).parents[2]


def just(*arguments: str, root: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run a recipe as a user does, in this environment."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    command = [str(Path(sys.executable).with_name("just")), *arguments]
    return subprocess.run(
        command, cwd=root, env=environ, capture_output=True, text=True, timeout=100, check=False
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("test nosuchpath", "there is no file or folder 'nosuchpath'; tests are in packages/asgi, "),
        ("test orders", "there is no file or folder 'orders'; similar: services/orders"),
        ("test packages/dv -k commit", "there is no file or folder 'packages/dv'; similar: packages/db"),
        ("test -k commit packages/nosuch", "there is no file or folder 'packages/nosuch'"),
        ("test tests/workspace/test_dve.py::test_x", "similar: tests/workspace/test_dev.py"),
        ("bench", "no benchmark is given; benchmarks: compression, dashboard, database, "),
        ("bench nosuch", "there is no benchmark 'nosuch'; benchmarks: compression, dashboard, database, "),
        ("config", "just config service"),
        ("config order", "there is no service 'order'; services: accounts, orders"),
        ("migrate", "just migrate service"),
        ("revision orders", "just revision service message"),
        ("backup orders", "just backup service file"),
        ("restore orders", "just restore service file"),
        ("drill nosuch", "(choose from 'api', 'database', "),
        ("dev nosuch", "invalid port: 'nosuch'; accepted: 1 to 65000"),
        ("dev 64000", "port 64000 leaves no admin ports: give the first one, too: 64000 9190"),
        ("tour nosuch", "invalid port: 'nosuch'; accepted: 1 to 65000"),
        ("traces nosuch", "invalid port: 'nosuch'; accepted: 1 to 65000"),
        ("clean nosuch", "unrecognized arguments: nosuch"),
        ("rename-workspace", "just rename-workspace name"),
        ("up staging", "does not match pattern `dev|prod`"),
        ("down staging", "does not match pattern `dev|prod`"),
        ("roll orders staging", "does not match pattern `dev|prod`"),
        ("roll", "just roll service"),
    ],
)
def test_a_wrong_or_missing_argument_is_reported_with_what_is_accepted(arguments: str, message: str) -> None:
    done = just(*arguments.split())

    assert done.returncode != 0
    assert message in done.stderr, done
    assert "Traceback" not in done.stderr
    # just adds nothing to the reason.
    assert "failed on line" not in done.stderr


@pytest.mark.parametrize(
    "recipe",
    ["clean", "dev", "docs", "drill", "examples", "logs", "release", "status", "tour", "traces", "trial"],
)
def test_the_usage_of_a_command_has_the_name_of_its_recipe(recipe: str) -> None:
    assert just(recipe, "--help").stdout.startswith(f"usage: just {recipe} ")


def test_every_recipe_of_generated_files_has_the_options_that_its_messages_name() -> None:
    recipes = json.loads(just("--dump", "--dump-format", "json").stdout)["recipes"]

    for name in GENERATORS:
        assert [parameter["kind"] for parameter in recipes[name]["parameters"]] == ["star"], name


def test_doctor_lists_recipes_that_exist() -> None:
    recipes = json.loads(just("--dump", "--dump-format", "json").stdout)["recipes"]
    named = [command.split()[0] for commands in NEEDS for command in commands.split(", ")]

    assert set(named) <= set(recipes)


def test_just_dev_shows_the_installation_of_packages_if_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = copied(tmp_path)
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    monkeypatch.setenv("UV_OFFLINE", "1")

    first, second = (just("dev", "nosuch", root=root) for _ in range(2))

    assert re.search(r"^Installed \d+ packages", first.stderr, re.MULTILINE), first.stderr
    assert "invalid port: 'nosuch'" in first.stderr
    assert "nstalled" not in second.stderr
    assert second.stderr.startswith("usage: ")


def test_a_command_of_containers_reports_that_compose_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COMPOSE", "no-such-program compose")

    done = just("ps")
    # No `just dev` runs here.
    logged = just("logs", "--level", "error")

    assert logged.returncode != 0
    assert "this needs `no-such-program compose`" in logged.stderr
    assert done.returncode == 69 or "exit code 69" in done.stderr
    assert (
        "this needs `no-such-program compose`, which does not run here: see uv run just doctor" in done.stderr
    )
    listed = just("doctor").stdout
    assert "lacks  just images, up, down, roll, container-logs, ps" in listed
    assert "no-such-program compose version install it, or unset COMPOSE for docker compose\n" in listed


def clean(directory: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tools.clean", "--directory", str(directory), *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    for folder in (".data", ".mypy_cache", "tests/support/__pycache__"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / ".data" / "orders.db").write_text("rows")
    (tmp_path / "tests" / "support" / "orders.py").touch()
    return tmp_path


def test_clean_keeps_the_data_of_development_unless_it_is_requested(workspace: Path) -> None:
    cleaned = clean(workspace)

    assert cleaned.stdout.splitlines() == [
        "removed .mypy_cache",
        "removed tests/support/__pycache__",
        "kept .data with .data/orders.db; remove it, too: uv run just clean --data",
    ]
    assert (workspace / ".data" / "orders.db").read_text() == "rows"
    assert clean(workspace, "--data").stdout == "removed .data with .data/orders.db\n"
    assert [path.name for path in workspace.rglob("*")] == ["tests", "support", "orders.py"]


def test_clean_does_not_remove_the_data_of_a_running_just_dev(workspace: Path) -> None:
    (workspace / ".data" / "dev.json").write_text(json.dumps([os.getpid(), 3000, 9090]))

    refused = clean(workspace, "--data")

    assert refused.returncode == os.EX_USAGE
    assert "`just dev` uses the databases in .data: stop it first; nothing is removed" in refused.stderr
    assert (workspace / ".mypy_cache").exists()
