"""pytest plugin: real service processes, real PostgreSQL, Redis and OTLP receiver."""

from ._jobs import wait_for_jobs
from ._otlp import OtlpReceiver, Span
from ._servers.forwarder import TcpForwarder
from ._servers.postgres import OwnPostgres, PostgresServer, running_postgres
from ._servers.redis import OwnRedis, RedisServer, running_redis
from ._service import Finished, Service, exits, running
from ._wait import wait_until

__all__ = [
    "Finished",
    "OtlpReceiver",
    "OwnPostgres",
    "OwnRedis",
    "PostgresServer",
    "RedisServer",
    "Service",
    "Span",
    "TcpForwarder",
    "exits",
    "running",
    "running_postgres",
    "running_redis",
    "wait_for_jobs",
    "wait_until",
]
