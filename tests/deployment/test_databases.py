"""`deploy/postgres/databases.sh` on a real PostgreSQL: first start, later services, repetition, races."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import asyncpg  # type: ignore[import-untyped]  # has no types
import pytest
from starkeel_testing import OwnPostgres

from tools.generate.connections import with_database
from tools.registry import ROOT, read

from ..support.postgres import execute, value

SCRIPT = ROOT / "deploy/postgres/databases.sh"
AWKWARD = """it's "quoted" \\ and :'colon' $PATH `date`"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with the passwords of two services."""
    for name in ("catalog", "orders"):
        (tmp_path / f"{name}-database-password").write_text(f"{name} secret")
    return tmp_path


def run(
    server: OwnPostgres, folder: Path, *, user: str = "postgres", password: str | None = None
) -> "subprocess.CompletedProcess[str]":
    address = urlsplit(server.url)
    environ = {
        "PATH": f"{server.programs}:{os.environ['PATH']}",
        "PGHOST": str(address.hostname),
        "PGPORT": str(address.port),
        "PGUSER": user,
        "PGPASSWORD": password or str(address.password),
    }
    return subprocess.run(
        ["bash", SCRIPT, folder], env=environ, capture_output=True, text=True, timeout=60, check=False
    )


def url(server: OwnPostgres, user: str, password: str, *, database: str | None = None) -> str:
    address = urlsplit(server.url)
    return f"postgresql://{user}:{quote(password, safe='')}@127.0.0.1:{address.port}/{database or user}"


def created(done: "subprocess.CompletedProcess[str]") -> list[str]:
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_database_is_created_for_a_service_that_is_added_to_a_running_server(
    own_postgres: OwnPostgres, folder: Path
) -> None:
    assert created(run(own_postgres, folder)) == [
        "created role catalog", "created database catalog", "created role orders", "created database orders",
    ]  # fmt: skip
    execute(url(own_postgres, "orders", "orders secret"), "CREATE TABLE kept AS SELECT 7 AS number")
    (folder / "inventory-database-password").write_text(AWKWARD)

    assert created(run(own_postgres, folder)) == ["created role inventory", "created database inventory"]

    assert value(url(own_postgres, "inventory", AWKWARD), "SELECT current_database()") == "inventory"
    assert value(url(own_postgres, "orders", "orders secret"), "SELECT number FROM kept") == 7
    assert created(run(own_postgres, folder)) == []


def test_a_service_has_access_to_its_own_database_only(own_postgres: OwnPostgres, folder: Path) -> None:
    created(run(own_postgres, folder))

    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        value(url(own_postgres, "orders", "orders secret", database="catalog"), "SELECT 1")
    with pytest.raises(asyncpg.InvalidPasswordError):
        value(url(own_postgres, "orders", "catalog secret"), "SELECT 1")
    privileges = value(
        own_postgres.url,
        "SELECT rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication FROM pg_roles"
        " WHERE rolname = 'orders'",
    )
    assert privileges is False


def test_the_file_has_the_password_also_after_a_change(own_postgres: OwnPostgres, folder: Path) -> None:
    created(run(own_postgres, folder))
    (folder / "orders-database-password").write_text("another secret")

    assert created(run(own_postgres, folder)) == []

    assert value(url(own_postgres, "orders", "another secret"), "SELECT 1") == 1
    with pytest.raises(asyncpg.InvalidPasswordError):
        value(url(own_postgres, "orders", "orders secret"), "SELECT 1")


def test_an_administrator_without_superuser_rights_is_enough(own_postgres: OwnPostgres, folder: Path) -> None:
    execute(own_postgres.url, "CREATE ROLE admin LOGIN CREATEDB CREATEROLE PASSWORD 'admin secret'")

    for expected in (4, 0):
        done = run(own_postgres, folder, user="admin", password="admin secret")
        assert len(created(done)) == expected

    assert value(url(own_postgres, "orders", "orders secret"), "SELECT current_user") == "orders"


def test_runs_at_the_same_time_create_each_database_once(own_postgres: OwnPostgres, folder: Path) -> None:
    with ThreadPoolExecutor(4) as threads:
        done = list(threads.map(lambda _: run(own_postgres, folder), range(4)))

    assert sorted(line for each in done for line in created(each)) == [
        "created database catalog", "created database orders", "created role catalog", "created role orders",
    ]  # fmt: skip


def test_no_file_and_a_refused_login_are_errors(own_postgres: OwnPostgres, tmp_path: Path) -> None:
    empty = run(own_postgres, tmp_path)
    assert empty.returncode == os.EX_NOINPUT
    assert f"{tmp_path} has no file NAME-database-password: create them" in empty.stderr

    (tmp_path / "orders-database-password").write_text("secret")
    refused = run(own_postgres, tmp_path, password="wrong")
    assert refused.returncode != 0
    assert "password authentication failed" in refused.stderr


@pytest.mark.timeout(300)
def test_services_migrate_and_use_the_databases_with_the_secrets_of_compose(
    own_postgres: OwnPostgres, tmp_path: Path
) -> None:
    subprocess.run([sys.executable, ROOT / "deploy/make_secrets.py", tmp_path], check=True)
    services = [service.name for service in with_database(read())]
    assert len(created(run(own_postgres, tmp_path))) == 2 * len(services)

    for name in services:
        given = (tmp_path / f"{name}-database-url").read_text()
        address = given.replace("@postgres:5432/", f"@127.0.0.1:{urlsplit(own_postgres.url).port}/")
        environ = {"ENVIRONMENT": "development", "DATABASE_URL": address, "PATH": os.environ["PATH"]}
        migrated = subprocess.run(
            [sys.executable, "-m", name, "migrate"],
            env=environ, capture_output=True, text=True, timeout=110, check=False,
        )  # fmt: skip
        assert migrated.returncode == 0, migrated.stdout + migrated.stderr
        assert tables(address) > 0


def tables(address: str) -> Any:
    return value(address, "SELECT count(*) FROM pg_tables WHERE tableowner = current_user")
