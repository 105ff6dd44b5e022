"""A commit that is running when its request is cancelled ends as the database decides, and is logged."""

import asyncio
import signal
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import asyncpg  # type: ignore[import-untyped]
import httpx2
import pytest
from starkeel_testing import wait_until

from .conftest import Package
from .test_db_newer_schema import address
from .test_db_process import CREATE, Shop

LOCK = 4711
# A deferred trigger: COMMIT waits for a lock that the test holds.
TRIGGER = f"""
CREATE FUNCTION waits() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
PERFORM pg_advisory_xact_lock({LOCK}); {{then}} RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER waits AFTER INSERT ON things DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW EXECUTE FUNCTION waits()
"""
ROUTE = """

@get("/add")
async def add(session: NamedDependency[AsyncSession]) -> None:
    await session.execute(text("INSERT INTO things (id) VALUES (1)"))

"""


class Watcher:
    """A connection of the test, which holds the lock."""

    def __init__(self, url: str) -> None:
        self._runner = asyncio.Runner()
        self._connection = self._runner.run(asyncpg.connect(url))

    def __call__(self, statement: str) -> Any:
        return self._runner.run(self._connection.fetchval(statement))

    def close(self) -> None:
        self._runner.run(self._connection.close())
        self._runner.close()


@pytest.fixture
def shop(package: Package) -> Shop:
    shop = Shop(package)
    path = package.folder.parent / "app.py"
    text = path.read_text().replace("\ndef create_app", f"{ROUTE}\ndef create_app")
    path.write_text(text.replace("Litestar([count,", "Litestar([add, count,"))
    return shop


@pytest.mark.parametrize(
    ("then", "rows", "message"),
    [
        ("", 1, "committed after the request was cancelled"),
        ("RAISE EXCEPTION 'no';", 0, "commit failed"),
    ],
)
def test_a_commit_at_the_end_of_the_grace_period_has_an_outcome(
    shop: Shop, postgres_url: str, then: str, rows: int, message: str
) -> None:
    statements = TRIGGER.format(then=then).replace("\n", " ").split("; CREATE CONSTRAINT")
    shop.package.add(
        "0001_things",
        CREATE,
        f'op.execute("""{statements[0]}""")',
        f'op.execute("""CREATE CONSTRAINT{statements[1]}""")',
    )
    watcher = Watcher(postgres_url)
    waiting = f"SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = {LOCK} AND NOT granted"
    with (
        ThreadPoolExecutor(1) as pool,
        shop.serving(postgres_url, SHUTDOWN_GRACE_SECONDS="0.1") as lines,
    ):
        watcher(f"SELECT pg_advisory_lock({LOCK})")
        url = address(lines, "listening")
        response = pool.submit(httpx2.get, f"{url}/add", timeout=30, trust_env=False)
        wait_until(lambda: watcher(waiting) == 1, timeout_s=30)

        shop.processes[-1].send_signal(signal.SIGTERM)

        assert response.result(30).status_code == 503
        assert watcher(waiting) == 1
        watcher(f"SELECT pg_advisory_unlock({LOCK})")
    wait_until(lambda: watcher("SELECT count(*) FROM things") == rows, timeout_s=30)
    watcher.close()
    assert any(message in line for line in lines), lines
