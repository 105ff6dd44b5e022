"""Counting in Redis."""

from typing import Final

from limits.aio.storage import RedisStorage
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

__all__ = ["RedisError", "client", "storage"]

_CONNECTIONS: Final = 20


def client(url: str, *, timeout_s: float) -> Redis:
    """Make a client; opens nothing.

    Args:
        url: Where Redis is.
        timeout_s: Seconds it has for an answer.
    """
    # One repetition at once: a connection that was kept may have died with the Redis before this one.
    made: Redis = Redis.from_url(
        url,
        socket_connect_timeout=timeout_s,
        socket_timeout=timeout_s,
        max_connections=_CONNECTIONS,
        retry=Retry(NoBackoff(), 1),
    )
    return made


def storage(redis: Redis) -> RedisStorage:
    """Where limits are counted.

    Args:
        redis: The client.
    """
    return RedisStorage(
        "redis://",
        implementation="redispy",
        key_prefix="starkeel",
        connection_pool=redis.connection_pool,  # type: ignore[arg-type]  # handed on as it is
    )
