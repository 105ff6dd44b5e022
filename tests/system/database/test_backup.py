"""Orders on its embedded database: copied while it writes, and put back while it does not run."""

import sqlite3
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Event
from uuid import uuid4

import pytest
from starkeel_testing import Finished, Service, exits, running, wait_until

pytestmark = pytest.mark.timeout(240)

CREDENTIALS = {"email": "ada@example.com", "password": "seven quiet lighthouses"}


class Shop:
    """An embedded orders, and one who orders."""

    def __init__(self, accounts: Service, directory: Path) -> None:
        assert accounts.client.post("/api/users", json=CREDENTIALS).status_code == 201
        token = accounts.client.post("/api/auth/token", json=CREDENTIALS).json()["access_token"]
        self.headers = {"Authorization": f"Bearer {token}"}
        self.database = directory / "orders.db"
        self.env = {
            "ACCOUNTS_URL": accounts.url,
            "JWT_JWKS_URL": f"{accounts.url}/.well-known/jwks.json",
            "DATABASE_URL": f"sqlite:///{self.database}",
            "RATE_LIMIT_ORDER_CREATION": "10000/minute",
        }

    def place(self, service: Service) -> str:
        headers = self.headers | {"Idempotency-Key": uuid4().hex}
        body = {"product_type": "anchor", "quantity": 1}
        placed = service.client.post("/api/orders", json=body, headers=headers)
        assert placed.status_code == 201, placed.text
        return str(placed.json()["id"])

    def orders(self, service: Service) -> set[str]:
        answer = service.client.get("/api/orders", params={"limit": 100}, headers=self.headers)
        assert "next" not in answer.links
        return {order["id"] for order in answer.json()["items"]}

    def do(self, verb: str, file: Path, **env: str) -> Finished:
        return exits("orders", self.env | env, verb, str(file))


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with running("accounts", {"DATABASE_URL": f"sqlite:///{tmp_path}/accounts.db"}) as accounts:
        yield Shop(accounts, tmp_path)


def _count(file: Path) -> int:
    with closing(sqlite3.connect(file)) as connection:
        return int(connection.execute("SELECT count(*) FROM orders").fetchone()[0])


def test_a_copy_is_made_while_it_writes_and_brings_back_what_it_holds(shop: Shop, tmp_path: Path) -> None:
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
        done = shop.do("backup", copy)
        is_over.set()
        written = set(writing.result(60))
        assert done.code == 0, done.output
        after = {shop.place(service) for _ in range(2)}
        assert shop.orders(service) == before | written | after

        refused = shop.do("restore", copy)
        assert refused.code == 1, refused.output
        assert "stop the service first" in refused.output
        assert shop.orders(service) == before | written | after

    # One file, whole, that nobody else may read.
    assert [path.name for path in copy.parent.iterdir()] == ["orders.db"]
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert len(before) <= _count(copy) <= len(before | written)

    done = shop.do("restore", copy)
    assert done.code == 0, done.output
    assert _count(tmp_path / "orders.db.before-restore") == len(before | written | after)
    with running("orders", shop.env) as service:
        found = shop.orders(service)
        assert before <= found <= before | written
        assert len(found) == _count(copy)
        shop.place(service)


def test_what_cannot_be_restored_leaves_what_is_there(shop: Shop, tmp_path: Path) -> None:
    with running("orders", shop.env) as service:
        placed = {shop.place(service) for _ in range(3)}
    good, newer, other, damaged = (tmp_path / f"{name}.db" for name in ("good", "newer", "other", "damaged"))
    for file in (good, newer, damaged):
        assert shop.do("backup", file).code == 0
    with closing(sqlite3.connect(newer)) as connection:
        connection.execute("UPDATE alembic_version_orders SET version_num = '9999_of_tomorrow'")
        connection.commit()
    with closing(sqlite3.connect(other)) as connection:
        connection.execute("CREATE TABLE books (id)")
    with damaged.open("r+b") as file:
        file.seek(8192)
        file.write(b"\xff" * 4096)

    for file, code, told in (
        (tmp_path / "nowhere.db", 1, "does not exist"),
        (newer, 65, "9999_of_tomorrow"),
        (other, 65, "not a database of this service"),
        (damaged, 65, "damaged"),
        (shop.database, 1, "the database itself"),
    ):
        refused = shop.do("restore", file)
        assert refused.code == code, refused.output
        assert told in refused.output
        assert "Traceback" not in refused.output
    with running("orders", shop.env) as service:
        assert shop.orders(service) == placed


def test_what_cannot_be_backed_up_says_so(shop: Shop, tmp_path: Path) -> None:
    nothing = shop.do("backup", tmp_path / "copy.db")
    elsewhere = shop.do("backup", tmp_path / "copy.db", DATABASE_URL="postgresql://u@127.0.0.1:1/db")
    with running("orders", shop.env):
        wait_until(shop.database.exists, timeout_s=10)
        nowhere = shop.do("backup", tmp_path / "no such directory" / "copy.db")

    assert nothing.code == 1
    assert "no database exists" in nothing.output
    assert elsewhere.code == 1
    assert "pg_dump" in elsewhere.output
    assert nowhere.code == 1
    assert "no such directory" in nowhere.output
    assert not (tmp_path / "copy.db").exists()
