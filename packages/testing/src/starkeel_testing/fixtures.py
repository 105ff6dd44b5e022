"""The fixtures that every test may ask for."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from ._servers.installations import find_redis
from ._servers.own_postgres import OwnPostgres, running_postgres
from ._servers.postgres import PostgresServer
from ._servers.redis import RedisServer, given_redis, redis_server_of
from ._servers.shared_postgres import BROKER, request_url
from ._telemetry.otlp import OtlpReceiver, receiving
from ._wait import unused_port

_KINDS = ["sqlite", pytest.param("postgresql", marks=pytest.mark.needs_postgres)]


@pytest.fixture(scope="session")
def postgres_server(pytestconfig: pytest.Config) -> PostgresServer:
    """A PostgreSQL; one for all the processes of the run."""
    given = os.environ.get("STARKEEL_TEST_POSTGRES_URL")
    if given:
        return PostgresServer(given)
    worker = getattr(pytestconfig, "workerinput", None)
    return PostgresServer(
        request_url(worker["starkeel_postgres"]) if worker else pytestconfig.stash[BROKER].url()
    )


@pytest.fixture
def own_postgres() -> Iterator[OwnPostgres]:
    """A PostgreSQL of this test's own, to stop, kill, pause and start again."""
    with running_postgres() as server:
        yield server


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """URL of an empty PostgreSQL database, this test's alone."""
    with postgres_server.database() as url:
        yield url


@pytest.fixture(params=_KINDS)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """URL of an empty database, this test's alone: once SQLite, once PostgreSQL."""
    with _database(request, tmp_path / "database.sqlite") as url:
        yield url


@pytest.fixture(params=_KINDS)
def database_urls(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """URLs of two empty databases of one kind: once SQLite, once PostgreSQL."""
    with ExitStack() as stack:
        first, second = (
            stack.enter_context(_database(request, tmp_path / f"{name}.sqlite"))
            for name in ("first", "second")
        )
        yield first, second


@pytest.fixture(scope="session", params=_KINDS)
def session_database(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[], str]]:
    """Makes databases for services that tests share, each call a fresh one: once SQLite, once PostgreSQL."""
    with ExitStack() as stack:

        def made() -> str:
            file = tmp_path_factory.mktemp("database") / "database.sqlite"
            return stack.enter_context(_database(request, file))

        yield made


@pytest.fixture(scope="session")
def redis_server(pytestconfig: pytest.Config) -> Iterator[RedisServer]:
    """A Redis; one for each process of the run, as publishing knows no databases."""
    given = os.environ.get("STARKEEL_TEST_REDIS_URL")
    if given:
        worker = getattr(pytestconfig, "workerinput", {}).get("workerid", "gw0")
        yield given_redis(given, worker=int(worker.removeprefix("gw")))
        return
    installation = find_redis()
    assert installation is not None, "Redis is neither installed nor there as a wheel"
    with redis_server_of(installation) as server:
        yield server


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """URL of an empty Redis database."""
    return redis_server.emptied()


@pytest.fixture
def otlp() -> Iterator[OtlpReceiver]:
    """A receiver of spans, this test's alone."""
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    return unused_port()


@contextmanager
def _database(request: pytest.FixtureRequest, file: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{file}"
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    with server.database() as url:
        yield url
