"""Rows of `drill`: each passes on a good service and fails on one that is broken in exactly that way."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from drill_defects import DRILL_DEFECTS
from drilled import Database, database, drilled
from seatrial._rows.registry import load_rows


@pytest.fixture(scope="module")
def running_database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    with database(tmp_path_factory.mktemp("database")) as found:
        yield found


def test_each_row_has_a_defect_that_it_catches() -> None:
    assert {row.id for row in load_rows() if row.command == "drill"} == set(DRILL_DEFECTS)
    assert len(set(DRILL_DEFECTS.values())) == len(DRILL_DEFECTS)


def test_rows_pass_on_a_good_service(running_database: Database, tmp_path: Path) -> None:
    # One test for all: they share its start and its instances.
    found = drilled(running_database, cwd=tmp_path)
    assert found.keys() == DRILL_DEFECTS.keys()
    others = {name: (row["verdict"], row["reason"], row["evidence"]) for name, row in found.items()}
    assert {name: other for name, other in others.items() if other[0] != "pass"} == {}


@pytest.mark.parametrize(("row", "defect"), DRILL_DEFECTS.items())
def test_row_fails_on_its_defect(row: str, defect: str, running_database: Database, tmp_path: Path) -> None:
    found = drilled(running_database, defect, only=(row,), cwd=tmp_path)
    assert found[row]["verdict"] == "fail", found[row]


def test_requests_may_be_counted_after_their_responses(running_database: Database, tmp_path: Path) -> None:
    found = drilled(running_database, "late counts", only=("metrics-total",), cwd=tmp_path)
    assert found["metrics-total"]["verdict"] == "pass", found["metrics-total"]
