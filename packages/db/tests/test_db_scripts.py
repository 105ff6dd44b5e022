"""Revisions are read from their files without Alembic, unless they are not plain."""

import subprocess
import sys
from pathlib import Path

import pytest
from starkeel_db import MigrationError
from starkeel_db._migrations.scripts import Scripts, revisions_in_line

FIRST = 'revision = "0001_first"\ndown_revision = None\n'
SECOND = 'revision: str = "0002_second"\ndown_revision: str | None = "0001_first"\n'


def folder_with(folder: Path, *texts: str) -> Path:
    folder.mkdir()
    (folder / "__init__.py").touch()
    for number, text in enumerate(texts):
        # File names in reverse order of the revisions.
        (folder / f"r{9 - number}.py").write_text(text + "\n\ndef upgrade():\n    pass\n")
    return folder


@pytest.mark.parametrize("is_module", [False, True], ids=["no migrations", "a module"])
def test_an_application_without_a_migrations_package_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_module: bool
) -> None:
    name = f"hello_{is_module}".lower()
    monkeypatch.syspath_prepend(tmp_path)
    if is_module:
        (tmp_path / f"{name}.py").touch()
    else:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()

    with pytest.raises(MigrationError) as raised:
        Scripts(f"{name}.migrations")

    assert str(raised.value) == (
        f"there is no package `{name}.migrations` for migrations: make the application a package, a folder"
        f" `{name}` with `__init__.py` and `__main__.py`, and in it a folder `migrations` with `__init__.py`"
    )


def test_revisions_are_ordered_by_down_revision(tmp_path: Path) -> None:
    assert revisions_in_line(folder_with(tmp_path / "one", FIRST, SECOND)) == ["0001_first", "0002_second"]
    assert revisions_in_line(folder_with(tmp_path / "none")) == []


@pytest.mark.parametrize(
    "other",
    [
        'revision = "0002_" + "second"\ndown_revision = "0001_first"\n',
        'revision = "0002_other"\ndown_revision = None\n',
        'revision = "0002_lost"\ndown_revision = "0001_gone"\n',
        'revision = "0002_tied"\ndown_revision = "0001_first"\ndepends_on = "elsewhere"\n',
        'revision = "0002_merge"\ndown_revision = ("0001_first", "0001_other")\n',
        "not python at all",
        "down_revision = None\n",
    ],
)
def test_revisions_that_are_not_a_plain_line_are_left_to_alembic(tmp_path: Path, other: str) -> None:
    assert revisions_in_line(folder_with(tmp_path / "some", FIRST, other)) is None


def test_a_computed_revision_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    computed = 'revision = "0002_" + "second"\ndown_revision = "0001_first"\n'
    folder_with(tmp_path / "computed_migrations", FIRST, computed)
    monkeypatch.syspath_prepend(tmp_path)

    assert Scripts("computed_migrations").names() == ["0001_first", "0002_second"]


def test_reading_revisions_does_not_import_alembic() -> None:
    code = (
        "import sys; from starkeel_db import DatabasePlugin\n"
        "from starkeel_db._migrations.scripts import Scripts\n"
        "print(Scripts('orders.migrations').names() != [], 'alembic' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )

    assert done.stdout.split() == ["True", "False"]
