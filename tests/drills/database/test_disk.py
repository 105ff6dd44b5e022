"""A full disk: a tablespace on a small file system, which requires root."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg  # type: ignore[import-untyped]
import pytest
from starkeel_testing import OwnPostgres, wait_until
from starkeel_testing._process.temporary_directory import temporary_directory

from ...support.orders import Customer
from ...support.postgres import execute, value
from ...support.report import report
from .clients import Clients, Writer

pytestmark = pytest.mark.timeout(300)

FILL = "INSERT INTO filler SELECT repeat('x', 7000) FROM generate_series(1, {})"


@contextmanager
def small_disk(account: Any, *, megabytes: int) -> Iterator[Path]:
    """Mount a file system in memory, which requires root."""
    with temporary_directory("starkeel-disk-", owner=account) as directory:
        place = directory / "disk"
        place.mkdir()
        options = f"size={megabytes}m,mode=0700"
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], check=True)
        try:
            account.chown(place)
            yield place
        finally:
            subprocess.run(["umount", "--lazy", place], check=True)


def test_a_full_disk_causes_503_until_space_is_freed(
    customer: Customer, own_postgres: OwnPostgres, capsys: Any
) -> None:
    with small_disk(own_postgres.user, megabytes=24) as disk:
        execute(
            own_postgres.url,
            f"CREATE TABLESPACE small LOCATION '{disk}'",
            "CREATE DATABASE shop TABLESPACE small TEMPLATE template0",
        )
        url = urlunsplit(urlsplit(own_postgres.url)._replace(path="/shop"))
        writer = Writer(customer)
        with customer.running_orders(url) as service:
            assert customer.place(service.client).status_code == 201
            with Clients(service.url, writer, count=4) as writing:
                execute(url, "CREATE TABLE filler (x text)", "ALTER TABLE filler ALTER x SET STORAGE PLAIN")
                _fill(url)
                wait_until(lambda: writing.statuses.get(503, 0) >= 20, timeout_s=90)
                assert customer.latest(service.client).status_code == 200
                assert service.client.get("/health/ready").status_code == 200
                placed = len(writer.acknowledged)
                execute(url, "DROP TABLE filler", "CHECKPOINT")
                wait_until(lambda: len(writer.acknowledged) >= placed + 20, timeout_s=90)
            report(capsys, "full disk", writes=writing.statuses)
            assert set(writing.statuses) <= {201, 409, 503}, (writing.statuses, writing.problems[:3])
            assert set(writer.acknowledged) < set(customer.order_ids(service.client))
            assert value(url, "SELECT count(*) FROM orders") == value(url, "SELECT count(*) FROM outbox")
            assert "request failed" not in [line["message"] for line in service.logs()]
        execute(own_postgres.url, "DROP DATABASE shop WITH (FORCE)", "DROP TABLESPACE small")


def _fill(url: str) -> None:
    for rows in (256, 32, 4, 1):
        with suppress(asyncpg.DiskFullError):
            while True:
                execute(url, FILL.format(rows))
