"""Files and references that `just remove-service` replaces."""

from pathlib import Path

import pytest

from tools.remove_service.changes import apply
from tools.remove_service.documents import without_references


def test_a_failed_replacement_is_undone(tmp_path: Path) -> None:
    (tmp_path / "service/src").mkdir(parents=True)
    (tmp_path / "service/src/app.py").write_text("app")
    (tmp_path / "first.txt").write_text("first")
    (tmp_path / "last").write_text("a file")
    before = {path: path.read_text() for path in tmp_path.rglob("*") if path.is_file()}
    changes = {
        tmp_path / "first.txt": b"changed",
        tmp_path / "new.txt": b"new",
        tmp_path / "last/inside": b"",
    }

    with pytest.raises(OSError, match="last"):
        apply(tmp_path, changes, [tmp_path / "service"])

    assert {path: path.read_text() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_links_to_removed_files_become_text_and_rows_without_a_test_go(tmp_path: Path) -> None:
    removed = [tmp_path / "services/notes"]
    page = tmp_path / "docs/page.md"
    text = (
        "See [notes](../services/notes/README.md#start), [others](../services/others) and [site](https://a.b).\n"
        "| a | `services/notes/tests/test_a.py::test_b`, `tests/test_c.py::test_d` |\n"
        "| b | `services/notes/tests/test_a.py::test_b` |\n"
        "| c | `services/notes` |\n"
    )

    assert without_references(page, text, removed, tmp_path) == (
        "See notes, [others](../services/others) and [site](https://a.b).\n"
        "| a | `tests/test_c.py::test_d` |\n"
        "| c | `services/notes` |\n"
    )
