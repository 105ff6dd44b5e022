"""Database settings from the environment."""

import ssl
from pathlib import Path

import pytest
from starkeel_config import ConfigurationError, Problem, ServiceSettings, load
from starkeel_db import DatabaseSettings
from starkeel_db._base.dsn import PostgresUrl
from starkeel_db._driver.postgres import tls_attempts

PASSWORD = "hunter2"


class Service(ServiceSettings, frozen=True, kw_only=True):
    database: DatabaseSettings


def loaded(**environ: str) -> DatabaseSettings:
    return load(Service, environ, service="orders").database


def problems(**environ: str) -> tuple[Problem, ...]:
    with pytest.raises(ConfigurationError) as caught:
        loaded(**environ)
    assert PASSWORD not in str(caught.value)
    return tuple(caught.value.problems)


def test_the_development_default_is_a_file_named_after_the_service() -> None:
    settings = load(Service, {"ENVIRONMENT": "development"}, service="orders").database

    assert settings.url.reveal() == "sqlite:///.data/orders.db"
    assert str(settings.target) == "sqlite at .data/orders.db"


def test_production_requires_a_database_url() -> None:
    assert [problem.variable for problem in problems()] == ["DATABASE_URL"]


def test_defaults() -> None:
    settings = loaded(DATABASE_URL="postgresql://orders@db/orders")

    assert (settings.max_connections, settings.min_connections) == (20, 5)
    assert (settings.acquire_timeout_s, settings.idle_timeout_s, settings.max_lifetime_s) == (5, 600, 1800)
    assert (settings.statement_timeout_s, settings.startup_timeout_s) == (10, 30)
    assert settings.run_migrations


@pytest.mark.parametrize("scheme", ["postgres", "postgresql"])
@pytest.mark.parametrize("mode", ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"])
def test_a_target_is_displayed_without_credentials(scheme: str, mode: str) -> None:
    settings = loaded(DATABASE_URL=f"{scheme}://orders:{PASSWORD}%40@db.example.com/orders?sslmode={mode}")

    assert str(settings.target) == "postgresql at db.example.com:5432/orders"
    assert PASSWORD not in repr(settings) + repr(settings.target)


@pytest.mark.parametrize(
    ("url", "displayed"),
    [
        ("sqlite:///orders.db", "sqlite at orders.db"),
        ("sqlite:////var/lib/orders.db", "sqlite at /var/lib/orders.db"),
        ("sqlite:///a%20b.db", "sqlite at a b.db"),
        ("postgresql://u@[::1]:6000/db", "postgresql at [::1]:6000/db"),
        ("postgresql://u@/db?host=/run/postgresql", "postgresql at /run/postgresql:5432/db"),
        ("postgresql://u@one,[::1]:5433/db", "postgresql at one:5432,[::1]:5433/db"),
    ],
)
def test_a_valid_url_is_parsed(url: str, displayed: str) -> None:
    assert str(loaded(DATABASE_URL=url).target) == displayed


@pytest.mark.parametrize(
    ("url", "wrong"),
    [
        (f"oracle://u:{PASSWORD}@db/x", "names neither PostgreSQL nor SQLite"),
        (f"mysql://u:{PASSWORD}@db/x", "names neither PostgreSQL nor SQLite"),
        ("orders.db", "names neither PostgreSQL nor SQLite"),
        (f"postgresql://u:{PASSWORD}@db:port/x", "malformed"),
        (f"postgresql://u:{PASSWORD}@db:70000/x", "malformed"),
        (f"postgresql://u:{PASSWORD}#1@db/x", "%23"),
        (f"postgresql://u:{PASSWORD}@/x", "no host"),
        (f"postgresql://u:{PASSWORD}@db", "no database"),
        ("postgresql://db/x", "no user"),
        (f"postgresql://u:{PASSWORD}@one,:5433/x", "no host"),
        (f"postgresql://u:{PASSWORD}@one,two:port/x", "malformed"),
        (f"postgresql://u:{PASSWORD}@one,two/x?target_session_attrs=best", "target_session_attrs"),
        (f"postgresql://u:{PASSWORD}@db/x?sslmode=maybe", "sslmode"),
        (f"postgresql://u:{PASSWORD}@db/x?pool=3", "pool"),
        (f"postgresql://u:{PASSWORD}@db/x?sslmode=verify-ca&sslrootcert=/nonexistent", "sslrootcert"),
        ("sqlite://", "in memory"),
        ("sqlite:///:memory:", "in memory"),
        ("sqlite://host/x", "three slashes"),
        ("sqlite:///x?mode=ro", "parameters"),
    ],
)
def test_an_invalid_url_is_refused_with_the_reason(url: str, wrong: str) -> None:
    (problem,) = problems(DATABASE_URL=url)

    assert problem.variable == "DATABASE_URL"
    assert wrong in problem.wrong + problem.accepted


def test_an_impossible_pool_size_is_refused() -> None:
    url = "postgresql://u@db/x"

    assert [
        p.variable for p in problems(DATABASE_URL=url, DB_MIN_CONNECTIONS="6", DB_MAX_CONNECTIONS="5")
    ] == ["DB_MIN_CONNECTIONS"]
    (workers,) = problems(DATABASE_URL=url, WORKERS="21")
    assert workers.variable == "WORKERS"
    assert "20" in workers.accepted


@pytest.mark.parametrize(
    "variable",
    [
        "DB_MAX_CONNECTIONS",
        "DB_ACQUIRE_TIMEOUT_SECONDS",
        "DB_IDLE_TIMEOUT_SECONDS",
        "DB_MAX_LIFETIME_SECONDS",
    ],
)
def test_numbers_are_bounded(variable: str, tmp_path: Path) -> None:
    for wrong in ("0", "-1", "inf", "99999999"):
        named = [p.variable for p in problems(**{"DATABASE_URL": f"sqlite:///{tmp_path}/x", variable: wrong})]
        assert variable in named


@pytest.mark.parametrize(
    ("mode", "verifies", "checks_the_host"),
    [("require", False, False), ("verify-ca", True, False), ("verify-full", True, True)],
)
def test_tls_verifies_as_sslmode_requires(mode: str, verifies: bool, checks_the_host: bool) -> None:
    target = loaded(DATABASE_URL=f"postgresql://u@db/x?sslmode={mode}").target
    assert isinstance(target, PostgresUrl)

    (context,) = tls_attempts(target, target.addresses[0])

    assert isinstance(context, ssl.SSLContext)
    assert (context.verify_mode is ssl.CERT_REQUIRED) is verifies
    assert context.check_hostname is checks_the_host


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({"DATABASE_URL": "sqlite:///file.db"}, "DB_PGBOUNCER"),
        ({"DATABASE_URL": "postgres://ada@db/shop"}, "MIGRATIONS_DATABASE_URL"),
    ],
)
def test_settings_that_cannot_work_with_pgbouncer_are_refused(environ: dict[str, str], named: str) -> None:
    assert [problem.variable for problem in problems(DB_PGBOUNCER="true", **environ)] == [named]
