"""Backup and restore of a service's embedded database."""

import json
import sqlite3
import stat
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Event

import pytest
from starkeel_testing import Finished, Service, exits, running, wait_until

from ...support.orders import Customer

pytestmark = pytest.mark.timeout(240)


class Shop:
    """Orders on an embedded database."""

    def __init__(self, customer: Customer, directory: Path) -> None:
        self._customer = customer
        self.database = directory / "orders.db"
        self.env = customer.env | {"DATABASE_URL": f"sqlite:///{self.database}"}

    def place(self, service: Service) -> str:
        placed = self._customer.place(service.client)
        assert placed.status_code == 201, placed.text
        return str(placed.json()["id"])

    def orders(self, service: Service) -> set[str]:
        return set(self._customer.order_ids(service.client))

    def run(self, verb: str, file: Path, **env: str) -> Finished:
        return exits("orders", self.env | env, verb, str(file))


@pytest.fixture
def shop(customer: Customer, tmp_path: Path) -> Shop:
    return Shop(customer, tmp_path)


def _count(file: Path) -> int:
    with closing(sqlite3.connect(file)) as connection:
        return int(connection.execute("SELECT count(*) FROM orders").fetchone()[0])


def test_a_backup_during_writes_is_consistent_and_can_be_restored(shop: Shop, tmp_path: Path) -> None:
    copy = tmp_path / "copies" / "orders.db"
    copy.parent.mkdir()
    copy.write_text("yesterday's")
    is_over = Event()
    with running("orders", shop.env) as service, ThreadPoolExecutor(1) as pool:
        before = {shop.place(service) for _ in range(5)}

        def write() -> list[str]:
            placed = []
            while not is_over.is_set() and len(placed) < 60:
                placed.append(shop.place(service))
            return placed

        writing = pool.submit(write)
        done = shop.run("backup", copy)
        is_over.set()
        written = set(writing.result(60))
        assert done.code == 0, done.output
        after = {shop.place(service) for _ in range(2)}
        assert shop.orders(service) == before | written | after

        refused = shop.run("restore", copy)
        assert refused.code == 1, refused.output
        assert "stop the service first" in refused.output
        assert shop.orders(service) == before | written | after

    # One complete file that only its owner can read.
    assert [path.name for path in copy.parent.iterdir()] == ["orders.db"]
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert len(before) <= _count(copy) <= len(before | written)

    done = shop.run("restore", copy)
    assert done.code == 0, done.output
    kept = tmp_path / "orders.db.before-restore"
    files = {"database": str(shop.database), "backup": str(copy), "previous_data": str(kept)}
    assert files.items() <= json.loads(done.output.splitlines()[-1]).items()
    assert _count(kept) == len(before | written | after)
    with running("orders", shop.env) as service:
        found = shop.orders(service)
        assert before <= found <= before | written
        assert len(found) == _count(copy)
        shop.place(service)


def test_a_refused_restore_keeps_the_database(shop: Shop, tmp_path: Path) -> None:
    with running("orders", shop.env) as service:
        placed = {shop.place(service) for _ in range(3)}
    good, newer, other, damaged = (tmp_path / f"{name}.db" for name in ("good", "newer", "other", "damaged"))
    for file in (good, newer, damaged):
        assert shop.run("backup", file).code == 0
    with closing(sqlite3.connect(newer)) as connection:
        connection.execute("UPDATE alembic_version_orders SET version_num = '9999_of_tomorrow'")
        connection.commit()
    with closing(sqlite3.connect(other)) as connection:
        connection.execute("CREATE TABLE books (id)")
    with damaged.open("r+b") as file:
        file.seek(8192)
        file.write(b"\xff" * 4096)

    for file, code, message in (
        (tmp_path / "nowhere.db", 1, "does not exist"),
        (newer, 65, "9999_of_tomorrow"),
        (other, 65, "not a database of this service"),
        (damaged, 65, "damaged"),
        (shop.database, 1, "the database itself"),
    ):
        refused = shop.run("restore", file)
        assert refused.code == code, refused.output
        assert message in refused.output
        assert "Traceback" not in refused.output
    with running("orders", shop.env) as service:
        assert shop.orders(service) == placed

    shop.database.write_bytes(damaged.read_bytes())
    refused = shop.run("restore", good)
    assert refused.code == 65, refused.output
    assert f"{shop.database}, which the backup would replace, is damaged: move it" in refused.output


def test_a_backup_that_is_not_possible_is_refused_with_the_reason(shop: Shop, tmp_path: Path) -> None:
    nothing = shop.run("backup", tmp_path / "copy.db")
    elsewhere = shop.run("backup", tmp_path / "copy.db", DATABASE_URL="postgresql://u@127.0.0.1:1/db")
    with running("orders", shop.env):
        wait_until(shop.database.exists, timeout_s=10)
        nowhere = shop.run("backup", tmp_path / "missing directory" / "copy.db")

    assert nothing.code == 1
    assert "no database exists" in nothing.output
    assert elsewhere.code == 1
    assert "pg_dump" in elsewhere.output
    assert nowhere.code == 1
    assert "missing directory" in nowhere.output
    assert not (tmp_path / "copy.db").exists()
