"""pytest plugin: real service processes, real PostgreSQL, Redis and OTLP receiver."""

from ._otlp import OtlpReceiver, Span
from ._servers.postgres import OwnPostgres, PostgresServer, running_postgres
from ._servers.redis import RedisServer
from ._service import Finished, Service, exits, running
from ._wait import wait_until

__all__ = [
    "Finished",
    "OtlpReceiver",
    "OwnPostgres",
    "PostgresServer",
    "RedisServer",
    "Service",
    "Span",
    "exits",
    "running",
    "running_postgres",
    "wait_until",
]
