"""A service as a process: start, stop, and concurrent instances."""

import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import httpx2
import pytest
from starkeel_testing import wait_until

from .conftest import Package

APP = """
from litestar import Litestar, get
from litestar.di import NamedDependency
from sqlalchemy import MetaData, text
from sqlalchemy.ext.asyncio import AsyncSession
from starkeel_config import ServiceSettings
from starkeel_db import DatabasePlugin, DatabaseSettings, read_only
from starkeel_server import ServerPlugin, ServerSettings, Service, run


class Settings(ServiceSettings, frozen=True, kw_only=True):
    server: ServerSettings
    database: DatabaseSettings


@get("/count", opt=read_only())
async def count(session: NamedDependency[AsyncSession]) -> int:
    return await session.scalar(text("SELECT count(*) FROM things"))


@get("/write", opt=read_only())
async def write(session: NamedDependency[AsyncSession]) -> None:
    await session.execute(text("INSERT INTO things (id) VALUES (1)"))


def create_app(settings: Settings) -> Litestar:
    database = DatabasePlugin(settings.database, metadata=MetaData(), migrations=f"{__package__}.migrations")
    return Litestar([count, write], plugins=[ServerPlugin(settings.server), database])


def main() -> None:
    here = f"{__package__}.app"
    run(Service(name=__package__, settings=f"{here}:Settings", app=f"{here}:create_app"))
"""
MAIN = "from .app import main\n\nif __name__ == '__main__':\n    main()\n"
CREATE = 'op.execute("CREATE TABLE things (id INTEGER PRIMARY KEY)")'


class Shop:
    """A service with migrations written by a test."""

    def __init__(self, package: Package) -> None:
        self.package = package
        self.name = package.name.partition(".")[0]
        self.processes: list[subprocess.Popen[str]] = []
        folder = package.folder.parent
        (folder / "app.py").write_text(APP)
        (folder / "__main__.py").write_text(MAIN)

    def start(self, url: str, *verb: str, **environ: str) -> "subprocess.Popen[str]":
        env = {
            "DATABASE_URL": url,
            "PORT": "0",
            "METRICS_PORT": "0",
            "HOST": "127.0.0.1",
            "PATH": "/usr/bin:/bin",
        }
        env |= {"PYTHONPATH": str(self.package.folder.parent.parent), "DRAIN_DELAY_SECONDS": "0", **environ}
        process = subprocess.Popen(
            [sys.executable, "-m", self.name, *verb],
            env=env,
            cwd=self.package.folder.parent.parent,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.processes.append(process)
        return process

    def ended(self, url: str, *verb: str, **environ: str) -> tuple[int, str]:
        process = self.start(url, *verb, **environ)
        output, _ = process.communicate(timeout=60)
        return process.returncode, output

    @contextmanager
    def serving(self, url: str, **environ: str) -> Iterator[list[str]]:
        """Serve until the block ends; yield the lines of its output."""
        process = self.start(url, **environ)
        lines: list[str] = []

        def read() -> None:
            assert process.stdout is not None
            lines.extend(iter(process.stdout.readline, ""))

        with ThreadPoolExecutor(1) as pool:
            reading = pool.submit(read)
            try:
                wait_until(
                    lambda: any("workers started" in line for line in lines) or reading.done(), timeout_s=60
                )
                yield lines
            finally:
                if not any("received SIGTERM" in line for line in lines):
                    process.send_signal(signal.SIGTERM)
                assert process.wait(30) == 0, lines
                reading.result(10)
                assert process.stdout is not None
                process.stdout.close()


@pytest.fixture
def shop(package: Package) -> Shop:
    return Shop(package)


def test_start_and_stop_are_logged_in_order(shop: Shop, database_url: str) -> None:
    shop.package.add("0001_things", CREATE)

    with shop.serving(database_url) as lines:
        pass

    expected = ("database connected", "migrations complete", "listening", "closing database connections")
    logged = [message for line in lines for message in expected if message in line]
    assert logged == list(expected)
    assert any(re.search("migrations complete.*applied=.*1", line) for line in lines)


def test_an_unreachable_database_is_exit_69(shop: Shop, free_port: int) -> None:
    url = f"postgresql://starkeel:hunter2@127.0.0.1:{free_port}/shop"

    code, output = shop.ended(url, DB_STARTUP_TIMEOUT_SECONDS="0.5")

    assert code == 69
    assert str(free_port) in output
    assert "hunter2" not in output
    assert "Traceback" not in output


def test_a_file_that_is_not_a_database_is_exit_65(shop: Shop, tmp_path: Path) -> None:
    (tmp_path / "shop.db").write_bytes(b"not an SQLite database" * 200)

    code, output = shop.ended(f"sqlite:///{tmp_path}/shop.db")

    assert code == 65
    assert "Traceback" not in output


def test_a_failing_migration_is_exit_65(shop: Shop, database_url: str) -> None:
    shop.package.add("0001_bad", 'op.execute("SELECT * FROM nowhere")')

    code, output = shop.ended(database_url)

    assert code == 65
    assert "0001_bad" in output
    assert "Traceback" not in output


def test_more_workers_than_connections_are_exit_78(shop: Shop, tmp_path: Path) -> None:
    code, output = shop.ended(
        f"sqlite:///{tmp_path}/x.db", WORKERS="3", DB_MAX_CONNECTIONS="2", DB_MIN_CONNECTIONS="1"
    )

    assert code == 78
    assert "WORKERS" in output


def test_concurrent_instances_apply_each_migration_once(shop: Shop, database_url: str) -> None:
    shop.package.add("0001_things", CREATE)
    shop.package.add("0002_more", 'op.execute("CREATE TABLE more (id INTEGER)")')

    processes = [shop.start(database_url, "migrate") for _ in range(3)]
    outputs = [process.communicate(timeout=90)[0] for process in processes]

    assert [process.returncode for process in processes] == [0, 0, 0], outputs
    assert sum(output.count("migration applied") for output in outputs) == 2


def test_the_migrate_verb_ignores_run_migrations(shop: Shop, database_url: str) -> None:
    shop.package.add("0001_things", CREATE)

    process = shop.start(database_url, "migrate", RUN_MIGRATIONS="false")

    output = process.communicate(timeout=90)[0]
    assert process.returncode == 0, output
    assert output.count("migration applied") == 1


def test_the_migrate_verb_prints_sql_without_running_it(shop: Shop, database_url: str) -> None:
    shop.package.add("0001_things", CREATE)

    code, output = shop.ended(database_url, "migrate", "--sql")

    assert code == 0, output
    assert "CREATE TABLE things" in output
    assert "migration applied" not in output
    assert shop.ended(database_url, "migrate")[1].count("migration applied") == 1


@pytest.mark.parametrize("level", ["info", "debug"])
def test_the_migrate_verb_prints_nothing_but_sql(tmp_path: Path, level: str) -> None:
    """Log lines of this package and of Alembic would break the script."""
    env = {
        "DATABASE_URL": f"sqlite:///{tmp_path}/orders.db",
        "ENVIRONMENT": "development",
        "LOG_LEVEL": level,
        "PATH": "/usr/bin:/bin",
    }
    done = subprocess.run(
        [sys.executable, "-m", "orders", "migrate", "--sql"],
        env=env,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(done.stdout)
        tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert tables >= {"orders", "outbox", "idempotency_keys"}
    assert ("DEBUG" in done.stderr) is (level == "debug")


def test_a_stop_during_a_migration_rolls_it_back(shop: Shop, tmp_path: Path) -> None:
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    begun = tmp_path / "begun"
    shop.package.add(
        "0001_slow",
        'op.execute("CREATE TABLE half (id INTEGER)")',
        f'open("{begun}", "w").close()',
        f'op.execute("{endless}")',
    )
    process = shop.start(f"sqlite:///{tmp_path}/shop.db")
    wait_until(begun.exists, timeout_s=60)

    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=30)

    assert process.returncode == 0, output
    assert "Traceback" not in output
    connection = sqlite3.connect(tmp_path / "shop.db")
    assert connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'half'").fetchone() == (0,)
    connection.close()


def test_two_workers_share_a_database(shop: Shop, database_url: str) -> None:
    shop.package.add("0001_things", CREATE)

    with shop.serving(database_url, WORKERS="2") as lines:
        pass

    assert sum("closing database connections" in line for line in lines) == 2
    assert not any("Traceback" in line for line in lines)


def test_a_write_in_a_read_only_route_fails_loudly(shop: Shop, database_url: str) -> None:
    shop.package.add("0001_things", CREATE)

    with shop.serving(database_url) as lines:
        (url,) = [
            f"http://{found[1]}" for line in lines if (found := re.search(r"listening +addr=(\S+)", line))
        ]
        with httpx2.Client(base_url=url) as client:
            assert client.get("/count").json() == 0
            assert client.get("/write").status_code == 500
            assert client.get("/count").json() == 0

    assert any("write refused in read-only session" in line for line in lines), lines
    assert not any("database unavailable" in line for line in lines)
