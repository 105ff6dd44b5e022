"""The fixtures of the plugin."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from ._otlp import OtlpReceiver
from ._servers.postgres import OwnPostgres, PostgresServer, running_postgres
from ._servers.redis import DATABASES, OwnRedis, RedisServer, running_redis
from ._servers.shared_postgres import BROKER, request_url
from ._wait import unused_port

_DATABASES = ["sqlite", pytest.param("postgresql", marks=pytest.mark.needs_postgres)]


@pytest.fixture(scope="session")
def postgres_server(pytestconfig: pytest.Config) -> PostgresServer:
    """The PostgreSQL that all processes of the run share."""
    external = os.environ.get("STARKEEL_TEST_POSTGRES_URL")
    if external:
        return PostgresServer(external)
    worker = getattr(pytestconfig, "workerinput", None)
    return PostgresServer(
        request_url(worker["starkeel_postgres"]) if worker else pytestconfig.stash[BROKER].url()
    )


@pytest.fixture
def own_postgres() -> Iterator[OwnPostgres]:
    """A PostgreSQL for one test, which may stop, kill, pause and restart it."""
    with running_postgres() as server:
        yield server


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """URL of an empty PostgreSQL database for one test."""
    with postgres_server.database() as url:
        yield url


@pytest.fixture(params=_DATABASES)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """URL of an empty database for one test: once SQLite, once PostgreSQL."""
    with _database(request, tmp_path / "database.sqlite") as url:
        yield url


@pytest.fixture(params=_DATABASES)
def database_urls(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """URLs of two empty databases of the same kind: once SQLite, once PostgreSQL."""
    with (
        _database(request, tmp_path / "first.sqlite") as first,
        _database(request, tmp_path / "second.sqlite") as second,
    ):
        yield first, second


@pytest.fixture(scope="session", params=_DATABASES)
def session_database(
    request: pytest.FixtureRequest, _session_databases: Callable[[pytest.FixtureRequest], Callable[[], str]]
) -> Callable[[], str]:
    """Factory of empty databases for services that tests share: once SQLite, once PostgreSQL.

    The factory of a kind is the same for the whole run, and its databases are dropped at the end of the run:
    a service that is started once for each factory serves the tests of all files.
    """
    return _session_databases(request)


@pytest.fixture(scope="session")
def _session_databases(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[pytest.FixtureRequest], Callable[[], str]]]:
    """Return the factory of a kind. It outlives a change of the kind, as at each file of a parallel run."""
    factories: dict[str, Callable[[], str]] = {}
    with ExitStack() as stack:

        def of(request: pytest.FixtureRequest) -> Callable[[], str]:
            kind: str = request.param
            server: PostgresServer | None = None
            if kind == "postgresql":
                server = request.getfixturevalue("postgres_server")

            def create() -> str:
                if server is not None:
                    return stack.enter_context(server.database())
                return f"sqlite:///{tmp_path_factory.mktemp('database') / 'database.sqlite'}"

            return factories.setdefault(kind, create)

        yield of


@pytest.fixture(scope="session")
def redis_server(pytestconfig: pytest.Config) -> Iterator[RedisServer]:
    """A Redis for each process of the run, because pub/sub channels are not separated by database."""
    external = os.environ.get("STARKEEL_TEST_REDIS_URL")
    if external:
        worker = getattr(pytestconfig, "workerinput", {}).get("workerid", "gw0")
        # The first process uses the database in the URL, each further process the next one.
        database = int(urlsplit(external).path.strip("/") or 0) + int(worker.removeprefix("gw"))
        yield RedisServer(external, database=database % DATABASES, is_exclusive=False)
        return
    with running_redis() as server:
        yield RedisServer(server.url)


@pytest.fixture
def own_redis() -> Iterator[OwnRedis]:
    """A Redis for one test, which may kill, pause and restart it."""
    with running_redis() as server:
        yield server


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """URL of an empty Redis database."""
    return redis_server.flush()


@pytest.fixture
def otlp() -> Iterator[OtlpReceiver]:
    """An OTLP receiver for one test."""
    with closing(OtlpReceiver()) as receiver:
        yield receiver


@pytest.fixture
def free_port() -> int:
    """A free port of 127.0.0.1."""
    return unused_port()


@contextmanager
def _database(request: pytest.FixtureRequest, file: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{file}"
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    with server.database() as url:
        yield url
