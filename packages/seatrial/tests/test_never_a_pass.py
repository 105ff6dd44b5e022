"""Rows that could not be judged never pass."""

from pathlib import Path
from typing import Any

import pytest
from command import CONFIG
from reference_server import running
from seatrial import Row, Verdict, passed
from seatrial._cli.check import open_service
from seatrial._config.read import read_config
from seatrial._rows.registry import load_rows
from seatrial._run.budget import Budget
from seatrial._run.runner import run_rows


def test_no_row_passes_on_a_service_that_closes_connections(tmp_path: Path) -> None:
    path = tmp_path / "seatrial.toml"
    path.write_text(CONFIG)
    rows = [row for row in load_rows() if row.command == "check"]
    budget = Budget(60, 10_000)
    with running() as server:
        service = open_service(server.url, server.admin_url, read_config(path), budget)
        server.is_gone = True
        results = run_rows(rows, {"check": service}, budget)
    passing = {result.row.id for result in results if result.judgement.verdict is Verdict.PASS}
    assert not passing


@pytest.mark.parametrize("error", [ValueError("a fault"), OSError("no connection"), RecursionError()])
def test_row_that_raises_is_unknown(error: Exception) -> None:
    def judge(_: object) -> Any:
        raise error

    template = next(row for row in load_rows() if row.command == "check")
    row: Row[Any] = Row(
        id="health-broken",
        title="A row",
        category=template.category,
        severity=template.severity,
        command="check",
        why="Because.",
        source="A source",
        how="By reading.",
        fix="Change it.",
        judge=judge,
    )
    result = run_rows([row], {"check": None}, Budget(10, 10), required=frozenset({"health-broken"}))[0]
    assert result.judgement.verdict is Verdict.UNKNOWN
    assert result.is_failure, "a required row that is unknown fails"
    assert passed("a reason").verdict is Verdict.PASS
