"""Modules that a worker imports only when they are used."""

import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from .sample import Samples

# The placeholders themselves are shown as imported.
_PARTS = (
    "advanced_alchemy.config.asyncio",
    "advanced_alchemy.repository",
    "advanced_alchemy.service._async",
    "cryptography.x509.base",
    "sqlalchemy.dialects.oracle.base",
    "sqlalchemy.dialects.mysql.base",
    "sqlalchemy.dialects.mssql.base",
    "yaml.loader",
)


def run(code: str, directory: Path) -> list[str]:
    """Run code in a new interpreter, and return the lines that it prints."""
    done = subprocess.run(
        [sys.executable, "-c", dedent(code)],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_worker_imports_no_parts_of_libraries_that_it_does_not_use(samples: Samples) -> None:
    sample = samples.run([sys.executable, "-X", "importtime", "-m", "sample"])
    sample.wait_until_ready()
    sample.stop()

    imported = {line.rpartition("|")[2].strip() for line in sample.output.splitlines() if "|" in line}
    assert "advanced_alchemy.operations" in imported
    assert imported.isdisjoint(_PARTS)


def test_placeholders_import_their_module_when_they_are_used(tmp_path: Path) -> None:
    code = """
        import sys
        from starkeel_server._process.deferred_imports import UNUSED, deferred_imports

        with deferred_imports(UNUSED):
            import litestar
            from litestar.openapi import plugins
        from advanced_alchemy import operations
        from advanced_alchemy.types import GUID

        print(*sorted(set(UNUSED) & set(sys.modules)), "none")
        from sqlalchemy import Column, MetaData, Table, Uuid
        from sqlalchemy.dialects import oracle

        print(oracle.__file__ is not None)
        print(type(GUID().load_dialect_impl(oracle.dialect())).__name__)
        statement = operations.mysql_insert(Table("items", MetaData(), Column("id", GUID)))
        print(type(statement).__module__, statement.on_duplicate_key_update is not None)
        print(plugins.yaml.dump({"a": 1}).strip())
        import yaml

        print(yaml.safe_load("a: 1"))
    """

    lines = run(code, tmp_path)

    assert lines == ["none", "True", "_OracleRaw", "sqlalchemy.dialects.mysql.dml True", "a: 1", "{'a': 1}"]


def test_deferred_modules_of_a_package_are_imported_when_they_are_looked_up(tmp_path: Path) -> None:
    code = """
        import sys
        from starkeel_server._process.deferred_imports import UNUSED, deferred_imports

        with deferred_imports(UNUSED):
            import jwt, litestar
        print("advanced_alchemy.service" in sys.modules, "advanced_alchemy.filters" in sys.modules)
        import advanced_alchemy
        from litestar.pagination import OffsetPagination

        print(OffsetPagination.__module__)
        print(advanced_alchemy.service.OffsetPagination is OffsetPagination)
        print(advanced_alchemy.filters.LimitOffset(10, 0).limit)
        from advanced_alchemy.extensions.litestar import SQLAlchemyAsyncConfig

        print(issubclass(SQLAlchemyAsyncConfig, advanced_alchemy.config.SQLAlchemyAsyncConfig))
        print(hasattr(advanced_alchemy, "absent"))
        try:
            jwt.algorithms.x509.load_der_x509_certificate(b"no certificate")
        except ValueError:
            print("cryptography.x509" in sys.modules)
    """

    lines = run(code, tmp_path)

    assert lines == [
        "False False",
        "advanced_alchemy.service.pagination",
        "True",
        "10",
        "True",
        "False",
        "True",
    ]


@pytest.mark.parametrize(
    ("statement", "printed"),
    [
        ("isinstance(fraction(1, 2), other.fraction)", "True"),
        ("issubclass(bool, other.fraction)", "False"),
        ("type('Half', (), {}) is not None and other.Half(1, 2) + other.Half(1, 2)", "1"),
        ("other.fraction.__name__", "Fraction"),
        ("other.fractions.gcd(4, 6)", "AttributeError"),
        ("other.absent()", "AttributeError"),
    ],
)
def test_a_placeholder_behaves_as_the_name_does(tmp_path: Path, statement: str, printed: str) -> None:
    (tmp_path / "other.py").write_text(
        "import fractions\nfrom fractions import Fraction as fraction, absent\n\n\ndef half():\n"
        "    class Half(fraction):\n        pass\n    return Half\n\n\ndef Half(*a):\n    return half()(*a)\n"
    )
    code = f"""
        import sys
        from starkeel_server._process.deferred_imports import deferred_imports

        with deferred_imports(["fractions"]):
            import other
        assert "fractions" not in sys.modules
        from fractions import Fraction as fraction
        try:
            print({statement})
        except AttributeError as error:
            print(type(error).__name__)
    """

    assert run(code, tmp_path) == [printed]


def test_a_module_that_is_imported_already_is_not_deferred(tmp_path: Path) -> None:
    code = """
        import fractions, sys
        from starkeel_server._process.deferred_imports import deferred_imports

        with deferred_imports(["fractions"]):
            from fractions import Fraction
        print(Fraction is fractions.Fraction, sys.modules["fractions"] is fractions)
    """

    assert run(code, tmp_path) == ["True True"]
