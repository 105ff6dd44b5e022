"""A service from the template is made as a whole, or not at all."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools import new_service
from tools.generate import clients
from tools.registry import ROOT, issuer, read
from tools.service_template.names import resource_problem
from tools.service_template.options import Options, default_resource, plural_of
from tools.service_template.render import render

from ..support.workspace_copy import ISSUERS, contents, copied, create_environment, git, run

pytestmark = pytest.mark.timeout(600)

RUFF = [sys.executable, "-m", "ruff"]


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of the workspace in which every attempt fails; nothing may have changed at the end."""
    root = copied(tmp_path_factory.mktemp("untouched"))
    before = contents(root)
    yield root
    assert contents(root) == before
    left = git(root, "status", "--porcelain", "--ignored").splitlines()
    assert [line for line in left if not line.endswith("__pycache__/")] == []


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([read()[0].name], f"services/{read()[0].name} exists: choose another name"),
        (["Inventory"], "use up to 31 lower-case letters, digits and single `_`"),
        (["in-ventory"], "use up to 31 lower-case letters"),
        (["i" * 60], "use up to 31 lower-case letters"),
        (["_inventory"], "use up to 31 lower-case letters"),
        (["in__ventory"], "use up to 31 lower-case letters"),
        (["../inventory"], "use up to 31 lower-case letters"),
        ([""], "use up to 31 lower-case letters"),
        (["class"], "Python gives the name a meaning"),
        (["match"], "Python gives the name a meaning"),
        (["print"], "Python gives the name a meaning"),
        (["statistics"], "it is a module of the standard library"),
        (["tests"], "tests is at the root of the workspace"),
        (["conftest"], "conftest is at the root of the workspace"),
        (["litestar"], "uv.lock has a distribution litestar"),
        (["typing_extensions"], "uv.lock has a distribution typing-extensions"),
        (["starkeel_db"], "uv.lock has a distribution starkeel-db"),
        (["_pytest"], "use up to 31 lower-case letters"),
        (["py"], "a package with the name is installed"),
        (["proxy"], "deploy/compose.yaml has a service proxy"),
        (["database"], "DATABASE_URL would be the address of the service, and is a setting"),
        (["warehouse", "--needs", "mongodb"], "--needs: 'mongodb' is unknown; known: database"),
        (["warehouse", "--needs", "database,worker"], "add `worker` to `needs` in its pyproject.toml"),
        (["warehouse", "--needs", "signing key"], "--needs: only one service can issue tokens"),
        (["warehouse", "--calls", "billing"], "--calls: there is no service 'billing'; services: "),
        (["warehouse", "--calls", "warehouse"], "--calls: there is no service 'warehouse'"),
        (["warehouse", "--resource", "Item"], "'Item' cannot name the resource (--resource): use one word"),
        (["warehouse", "--resource", "class"], "'class' has another meaning in the code of the template"),
        (["warehouse", "--resource", "request"], "'request' has another meaning in the code of the template"),
        (["warehouse", "--resource", "setting"], "'settings' has another meaning in the code"),
        (["w" * 31, "--resource", "thermostat"], None),
        (["w" * 31, "--resource", "refrigeration"], "with the service's name"),
        ([], "the following arguments are required: name"),
        (["warehouse", "extra"], "unrecognized arguments: extra"),
    ],
)  # fmt: skip
def test_a_bad_argument_is_refused_with_one_line(
    untouched: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    problem: str | None,
) -> None:
    given = ["new_service", *arguments, "--root", str(untouched)]
    monkeypatch.setattr(sys, "argv", given)
    if problem is None:
        # Valid: the next step is not part of this test.
        assert new_service.checked(new_service._arguments(), untouched).resource == arguments[-1]
        return

    try:
        code: object = new_service.main()
    except SystemExit as ended:
        code = ended.code

    error = capsys.readouterr().err
    assert code == 2
    assert problem in error
    assert error.count("\n") == 1


LEFT = {
    "services/warehouse/src/warehouse/app.py": "services/warehouse: has no pyproject.toml",
    "services/elsewhere/README.md": "services/elsewhere: has no pyproject.toml",
    "docs/openapi/warehouse.json": "docs/openapi/warehouse.json is left of a service with the name",
    "deploy/kubernetes/warehouse/settings.env": "deploy/kubernetes/warehouse is left of a service",
}


@pytest.mark.parametrize("left", LEFT)
def test_a_half_removed_service_is_refused(untouched: Path, left: str) -> None:
    path = untouched / left
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("left")
    try:
        done = run(untouched, "new_service", "warehouse")
    finally:
        path.unlink()
        while not any(path.parent.iterdir()):
            path = path.parent
            path.rmdir()

    assert (done.returncode, done.stdout) == (2, "")
    assert LEFT[left] in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_broken_registry_and_a_local_edit_are_refused(untouched: Path) -> None:
    registry = untouched / "services" / read()[0].name / "pyproject.toml"
    proxy = untouched / "deploy/proxy/common.cfg"
    edits = {
        registry: ("[tool.starkeel]", "[tool.starkeel]\ncolor = 1", "contains unknown field `color`"),
        proxy: ("    balance leastconn", "    balance roundrobin", "deploy/proxy/common.cfg"),
    }
    for path, (old, new, problem) in edits.items():
        before = path.read_text()
        path.write_text(before.replace(old, new, 1))
        try:
            done = run(untouched, "new_service", "warehouse", "--needs", "database")
        finally:
            path.write_text(before)
        assert done.returncode == 2
        assert problem in done.stderr


@pytest.mark.parametrize("step", ["lock", "sync"])
def test_nothing_is_left_of_an_attempt_whose_last_steps_fail(
    untouched: Path, tmp_path: Path, step: str
) -> None:
    stub = tmp_path / "uv"
    stub.write_text(
        f'#!/bin/sh\ncase "$*" in *--check*) exit 0;; {step}*) echo "disk full" >&2; exit 1;; esac\nexit 0\n'
    )
    stub.chmod(0o755)

    done = run(untouched, "new_service", "warehouse", "--needs", "database,redis", path=str(tmp_path))

    assert done.returncode == 2
    assert "failed: disk full" in done.stderr.splitlines()[-1]


def test_a_service_without_a_database_passes_its_tests(tmp_path: Path) -> None:
    root = copied(tmp_path)
    create_environment(root)
    done = run(root, "new_service", "quotes")
    assert done.returncode == 0, done.stderr
    assert not (root / "services/quotes/src/quotes/migrations").exists()

    tests = subprocess.run(
        [root / ".venv/bin/python", "-m", "pytest", "services/quotes", "-q", "-p", "no:cacheprovider"],
        cwd=root, capture_output=True, text=True, timeout=500, check=False,
    )  # fmt: skip

    assert tests.returncode == 0, tests.stdout[-5000:]
    assert re.search(r"\b\d\d passed", tests.stdout), tests.stdout


VARIANTS = [
    ("order_items", "item", ["database", "tokens"], []),
    ("previews", "sample", ["redis", "tokens"], ISSUERS),
    ("ports", "port", ["database", "redis", "broker", "tokens"], [service.name for service in read()]),
    ("b" * 31, "d" * 12, ["database", "broker", "tokens"], ISSUERS),
    ("cc", "d" * 20, ["database", "tokens"], ISSUERS),
]


def test_every_variant_passes_the_checks_of_the_workspace(tmp_path: Path) -> None:
    root = copied(tmp_path)
    for name, resource, needs, calls in VARIANTS:
        issuing = issuer(read())
        assert issuing is not None
        options = Options(
            name=name,
            resource=resource,
            needs=needs,
            calls=calls,
            issuer=issuing.name,
            port=4000,
            admin_port=9500,
        )
        for path, text in render(options, ROOT).items():
            (root / "services" / name / path).parent.mkdir(parents=True, exist_ok=True)
            (root / "services" / name / path).write_text(text)
            assert not re.search("depot|crate(?!d)|template", text, re.IGNORECASE), (path, text)
    for path, text in clients.files(root).items():
        if text is not None:
            path.write_text(text)

    sources = [f"services/{name}/src" for name, *_ in VARIANTS]
    for command in (
        [*RUFF, "check", "--no-cache", "services"],
        [*RUFF, "format", "--no-cache", "--check", "services"],
        [sys.executable, "-m", "mypy", "--strict", *sources],
        [sys.executable, "-m", "tools.checks.words", "services"],
    ):
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("name", "resource"),
    [
        ("inventory", "item"),
        ("invoices", "invoice"),
        ("categories", "category"),
        ("order_goods", "good"),
        ("boxes", "box"),
        ("status", "item"),
        ("access", "item"),
    ],
)
def test_the_resource_follows_from_the_name(name: str, resource: str) -> None:
    assert default_resource(name) == resource


def test_the_default_resource_is_accepted() -> None:
    assert resource_problem("item", "inventory", ROOT) is None
    assert plural_of("item") == "items"
