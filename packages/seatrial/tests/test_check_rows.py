"""Rows of `check`: each passes on a good service and fails on one that is broken in exactly that way."""

from pathlib import Path
from typing import Any

import pytest
from command import CONFIG, rows_of
from defects import HTTP_DEFECTS, TLS_ROWS
from reference_server import running
from reference_tokens import key_set
from seatrial._rows.registry import load_rows


@pytest.fixture(scope="module")
def good_rows(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    with running() as server:
        return rows_of(server, cwd=tmp_path_factory.mktemp("good"))


def test_each_row_has_a_defect_that_it_catches() -> None:
    assert {row.id for row in load_rows() if row.command == "check"} == {*HTTP_DEFECTS, *TLS_ROWS}
    assert len(set(HTTP_DEFECTS.values())) == len(HTTP_DEFECTS)


@pytest.mark.parametrize("row", HTTP_DEFECTS)
def test_row_passes_on_a_good_service(row: str, good_rows: dict[str, Any]) -> None:
    assert good_rows[row]["verdict"] == "pass", good_rows[row]


@pytest.mark.parametrize(("row", "defect"), HTTP_DEFECTS.items())
def test_row_fails_on_its_defect(row: str, defect: str, tmp_path: Path) -> None:
    with running(defect) as server:
        found = rows_of(server, "--only", row, cwd=tmp_path)
    assert found[row]["verdict"] == "fail", found[row]


def test_rows_of_tls_do_not_apply_to_plain_http(good_rows: dict[str, Any]) -> None:
    assert {good_rows[row]["verdict"] for row in TLS_ROWS} == {"not applicable"}


@pytest.mark.parametrize("row", ["metrics-complete", "metrics-errors-counted"])
def test_counters_may_be_published_in_batches(row: str, tmp_path: Path) -> None:
    with running("late counts") as server:
        found = rows_of(server, "--only", row, cwd=tmp_path)
    assert found[row]["verdict"] == "pass", found[row]


@pytest.mark.parametrize(
    ("text", "verdict"),
    [(key_set().decode(), "pass"), ("{}", "unknown"), ("no JSON", "unknown")],
    ids=["keys", "no keys", "no JSON"],
)
def test_public_keys_of_an_issuer_at_another_address_are_read_from_a_file(
    text: str, verdict: str, tmp_path: Path
) -> None:
    (tmp_path / "keys.json").write_text(text)
    config = CONFIG.replace("[auth]", '[auth]\njwks_file = "keys.json"')
    with running() as server:
        only = ("--only", "auth-key-confusion", "--only", "auth-challenge")
        found = rows_of(server, *only, cwd=tmp_path, config=config)
    assert found["auth-key-confusion"]["verdict"] == verdict, found
