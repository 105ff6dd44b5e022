"""Test modules name no service that they do not declare, and are left out without it."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.registry import ROOT, Service, read

from ..support.needed_services import declared, left_out, modules_with_tests, needed

STARTING = {"running", "exits", "import_module"}


def named(path: Path, services: list[Service]) -> Iterator[str]:
    """Yield what a module imports or starts, and the services whose files or paths it names."""
    prefixes = {f"services/{service.name}/src/": service.name for service in services}
    prefixes |= {public: service.name for service in services for public in service.paths}
    # A package has samples of its own, with paths like those of the services.
    is_sample = ROOT / "packages" in path.parents
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield (node.module or "").partition(".")[0]
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            if ast.unparse(node.func).rpartition(".")[2] in STARTING:
                yield str(node.args[0].value)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and not is_sample:
            yield from (service for prefix, service in prefixes.items() if node.value.startswith(prefix))


def test_a_module_declares_the_services_that_it_names() -> None:
    """Otherwise: run over the registry, move the test to services/NAME/tests, or add NEEDED_SERVICES."""
    services = read()
    names = {service.name for service in services}
    across = [path for path in modules_with_tests(ROOT) if ROOT / "services" not in path.parents]

    found = {
        str(path.relative_to(ROOT)): undeclared
        for path in across
        if (undeclared := {*named(path, services)} & names - needed(path, ROOT))
    }

    assert found == {}
    assert len(across) > 200


def write(root: Path, **modules: str) -> None:
    for name, text in modules.items():
        path = root.joinpath(*name.split("__")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_needs_are_those_of_the_imported_modules_and_of_the_fixtures(tmp_path: Path) -> None:
    write(
        tmp_path,
        tests__support__shop='NEEDED_SERVICES = ("shop",)\n',
        tests__system__conftest="from ..support import shop\n",
        tests__system__test_a="",
        tests__workspace__test_b="from ..support.shop import order\n",
        tests__workspace__test_c="from tests.support.shop import order\n",
        tests__workspace__test_d='NEEDED_SERVICES = ("stock", "bank")\n',
        tests__workspace__test_e="from starkeel_testing import running\n",
    )
    found = {name: [path.stem for path in paths] for name, paths in left_out(tmp_path, frozenset()).items()}

    assert found == {"shop": ["test_a", "test_b", "test_c"], "stock": ["test_d"], "bank": ["test_d"]}
    assert left_out(tmp_path, frozenset({"shop", "stock", "bank"})) == {}


def test_a_declaration_that_is_no_tuple_is_refused(tmp_path: Path) -> None:
    write(tmp_path, test_a='NEEDED_SERVICES = ("shop")\n')

    with pytest.raises(pytest.UsageError, match=r"test_a\.py: NEEDED_SERVICES is not like"):
        declared(tmp_path / "test_a.py")


def test_a_module_without_its_service_is_listed_and_not_imported(tmp_path: Path) -> None:
    module = tmp_path / "test_absent.py"
    module.write_text(
        'import absent\n\nNEEDED_SERVICES = ("absent",)\n\n\ndef test_it() -> None:\n    absent.go()\n'
    )

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--quiet", "-n0", "-c", ROOT / "pyproject.toml", "--rootdir", ROOT,
         "-p", "conftest", module],
        cwd=ROOT, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip

    assert done.returncode == pytest.ExitCode.NO_TESTS_COLLECTED, done.stdout + done.stderr
