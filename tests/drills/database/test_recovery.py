"""The database is restarted under load, and another takes over: what is answered, and how soon it is well."""

import time
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from starkeel_testing import OwnPostgres, Service, wait_until

from ...support.postgres import execute, value
from .orders_fixture import Load, Shop, Writer, told
from .standby import both, standby_of

pytestmark = pytest.mark.timeout(300)

WRITERS, READERS = 4, 4
# What the tests' servers do without: a commit is in the log before it is acknowledged.
DURABLE = {"synchronous_commit": "on", "full_page_writes": "on"}
LIMITS = {"DB_ACQUIRE_TIMEOUT_SECONDS": "2", "DB_STATEMENT_TIMEOUT_SECONDS": "5", "WORKERS": "2"}


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_a_restart_under_load(ada: Shop, own_postgres: OwnPostgres, capsys: Any, how: str) -> None:
    writer = Writer(ada)
    own_postgres.stop()
    own_postgres.start(**DURABLE)
    with (
        ada.serving(own_postgres.url, **LIMITS) as service,
        Load(service.url, writer, clients=WRITERS) as writing,
        Load(service.url, ada.look, clients=READERS) as reading,
    ):
        _until(lambda: len(writer.acknowledged) >= 50)
        began = time.monotonic()
        if how == "stopped":
            own_postgres.stop()
        else:
            own_postgres.kill()
        _until(lambda: _seen(reading, began, 503) and _seen(writing, began, 503))
        own_postgres.start(**DURABLE)
        back = time.monotonic()
        _until(lambda: _seen(reading, back, 200) and _seen(writing, back, 201))
        enough = len(writer.acknowledged) + 50
        _until(lambda: len(writer.acknowledged) >= enough)
        _ends_well(ada, service, writer)
    _report(capsys, f"restarted under load, {how}", (writing, reading), began, back)
    _has_no_other(writing, reading)
    assert sorted(writer.acknowledged) == sorted(set(writer.acknowledged))


def test_another_server_takes_over(ada: Shop, own_postgres: OwnPostgres, capsys: Any) -> None:
    writer = Writer(ada)
    with (
        standby_of(own_postgres) as standby,
        ada.serving(both(own_postgres, standby), **LIMITS) as service,
        Load(service.url, writer, clients=WRITERS) as writing,
        Load(service.url, ada.look, clients=READERS) as reading,
    ):
        _until(lambda: len(writer.acknowledged) >= 50)
        began = time.monotonic()
        own_postgres.kill()
        _until(lambda: _seen(writing, began, 503))
        # Nobody waits for a standby of its own any more.
        execute(standby.url, "SELECT pg_promote()")
        back = time.monotonic()
        enough = len(writer.acknowledged) + 50
        _until(lambda: len(writer.acknowledged) >= enough and _seen(reading, back, 200))
        _ends_well(ada, service, writer)
        assert value(standby.url, "SELECT pg_is_in_recovery()") is False
    _report(capsys, "failed over to another port", (writing, reading), began, back)
    _has_no_other(writing, reading)


def _until(condition: Callable[[], bool]) -> None:
    wait_until(condition, timeout_s=90)


def _seen(load: Load, since: float, status: int) -> bool:
    return load.between(since, float("inf")).get(status, 0) > 0


def _ends_well(ada: Shop, service: Service, writer: Writer) -> None:
    """Whatever was acknowledged is there once, and readiness is back."""
    wait_until(lambda: service.client.get("/health/ready").status_code == 200, timeout_s=60)
    known = set(writer.acknowledged)
    with httpx2.Client(base_url=service.url, timeout=60) as client:
        found = ada.orders(client)
    assert len(found) == len(set(found))
    assert known <= set(found)
    lines = [line["message"] for line in service.logs()]
    assert "request failed" not in lines, service.output()
    # One of each for each worker that noticed.
    assert 1 <= lines.count("database unavailable") <= 2, service.output()


def _has_no_other(writing: Load, reading: Load) -> None:
    # 504: a statement that a dying server never answered ended with its request.
    assert set(writing.statuses) <= {201, 409, 503, 504}, (writing.statuses, writing.problems[:3])
    assert set(reading.statuses) <= {200, 503, 504}, (reading.statuses, reading.problems[:3])


def _report(capsys: Any, drill: str, loads: tuple[Load, Load], began: float, back: float) -> None:
    writing, reading = loads
    first = {
        what: min(at for at, status in load.answers if at >= back and status == good)
        for what, load, good in (("write", writing, 201), ("read", reading, 200))
    }
    told(
        capsys,
        drill,
        away_s=round(back - began, 2),
        writes_answered=writing.statuses,
        reads_answered=reading.statuses,
        first_write_after_s=round(first["write"] - back, 2),
        first_read_after_s=round(first["read"] - back, 2),
    )
