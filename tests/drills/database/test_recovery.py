"""A restart of the database and a failover, under load."""

import time
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from starkeel_testing import OwnPostgres, Service, wait_until

from ...support.orders import Customer
from ...support.postgres import execute, value
from ...support.report import report
from .clients import Clients, Writer
from .standby import both, standby_of

pytestmark = pytest.mark.timeout(300)

WRITERS, READERS = 4, 4
# The tests' servers are not durable by default.
DURABLE = {"synchronous_commit": "on", "full_page_writes": "on"}
LIMITS = {"DB_ACQUIRE_TIMEOUT_SECONDS": "2", "DB_STATEMENT_TIMEOUT_SECONDS": "5", "WORKERS": "2"}


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_a_restart_under_load(customer: Customer, own_postgres: OwnPostgres, capsys: Any, how: str) -> None:
    writer = Writer(customer)
    own_postgres.stop()
    own_postgres.start(**DURABLE)
    with (
        customer.running_orders(own_postgres.url, **LIMITS) as service,
        Clients(service.url, writer, count=WRITERS) as writing,
        Clients(service.url, customer.latest, count=READERS) as reading,
    ):
        _until(lambda: len(writer.acknowledged) >= 50)
        began = time.monotonic()
        if how == "stopped":
            own_postgres.stop()
        else:
            own_postgres.kill()
        _until(lambda: reading.first(503, since=began) and writing.first(503, since=began))
        own_postgres.start(**DURABLE)
        back = time.monotonic()
        _until(lambda: reading.first(200, since=back) and writing.first(201, since=back))
        enough = len(writer.acknowledged) + 50
        _until(lambda: len(writer.acknowledged) >= enough)
        _check_orders(customer, service, writer)
    _report(capsys, f"restarted under load, {how}", (writing, reading), began, back)
    _check_statuses(writing, reading)
    assert sorted(writer.acknowledged) == sorted(set(writer.acknowledged))


def test_a_failover_under_load(customer: Customer, own_postgres: OwnPostgres, capsys: Any) -> None:
    writer = Writer(customer)
    with (
        standby_of(own_postgres) as standby,
        customer.running_orders(both(own_postgres, standby), **LIMITS) as service,
        Clients(service.url, writer, count=WRITERS) as writing,
        Clients(service.url, customer.latest, count=READERS) as reading,
    ):
        _until(lambda: len(writer.acknowledged) >= 50)
        began = time.monotonic()
        own_postgres.kill()
        _until(lambda: writing.first(503, since=began))
        # The promoted server has no standby to wait for.
        execute(standby.url, "SELECT pg_promote()")
        back = time.monotonic()
        enough = len(writer.acknowledged) + 50
        _until(lambda: len(writer.acknowledged) >= enough and reading.first(200, since=back))
        _check_orders(customer, service, writer)
        assert value(standby.url, "SELECT pg_is_in_recovery()") is False
    _report(capsys, "failed over to another port", (writing, reading), began, back)
    _check_statuses(writing, reading)


def _until(condition: Callable[[], object]) -> None:
    wait_until(condition, timeout_s=90)


def _check_orders(customer: Customer, service: Service, writer: Writer) -> None:
    """Check that every acknowledged order is stored once, and that the service is ready."""
    wait_until(lambda: service.client.get("/health/ready").status_code == 200, timeout_s=60)
    acknowledged = set(writer.acknowledged)
    with httpx2.Client(base_url=service.url, timeout=60) as client:
        found = customer.order_ids(client)
    assert len(found) == len(set(found))
    assert acknowledged <= set(found)
    lines = [line["message"] for line in service.logs()]
    assert "request failed" not in lines, service.output()
    # At most one line per worker.
    assert 1 <= lines.count("database unavailable") <= 2, service.output()


def _check_statuses(writing: Clients, reading: Clients) -> None:
    # 504: a statement without a result from the stopping server ended with its request.
    assert set(writing.statuses) <= {201, 409, 503, 504}, (writing.statuses, writing.problems[:3])
    assert set(reading.statuses) <= {200, 503, 504}, (reading.statuses, reading.problems[:3])


def _report(capsys: Any, drill: str, clients: tuple[Clients, Clients], began: float, back: float) -> None:
    writing, reading = clients
    first_write, first_read = writing.first(201, since=back), reading.first(200, since=back)
    assert first_write is not None
    assert first_read is not None
    report(
        capsys,
        drill,
        unavailable_s=round(back - began, 2),
        writes=writing.statuses,
        reads=reading.statuses,
        first_write_after_s=round(first_write - back, 2),
        first_read_after_s=round(first_read - back, 2),
    )
