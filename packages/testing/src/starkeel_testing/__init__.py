"""pytest plugin: real service processes, real PostgreSQL, Redis and OTLP receiver."""

from ._otlp import OtlpReceiver
from ._own_postgres import OwnPostgres, running_postgres
from ._postgres import PostgresServer
from ._redis import RedisServer
from ._running import Finished, exits, running
from ._service import Service
from ._spans import Span
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
