"""pytest plugin: real service processes, real PostgreSQL, Redis and OTLP receiver."""

from ._servers.postgres import OwnPostgres, PostgresServer, running_postgres
from ._servers.redis import RedisServer
from ._service.running import Finished, exits, running
from ._service.service import Service
from ._telemetry.otlp import OtlpReceiver
from ._telemetry.spans import Span
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
