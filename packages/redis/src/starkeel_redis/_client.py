"""Client of Redis: one connection at a time, opened again in the background."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Final, final

from redis.asyncio import Connection
from redis.asyncio.connection import parse_url
from starkeel_config import Backoff, Secret

from ._failures import RedisFailure, failure_of
from ._link import Link, open_link

_CONNECT_S: Final = 1.0
"""Seconds for an attempt to connect: name resolution, TLS and sign-in."""
_STABLE_S: Final = 1.0
"""Seconds after which the failure of a connection does not count as one of several in a row."""
# With an attempt at most 1.5 seconds: a changed name leads to a new connection within two.
_PAUSES: Final = Backoff(base_s=0.05, cap_s=0.5, jitter=0.5)


@final
class RedisClient:
    """Sends commands to the primary that a name leads to, all on one connection.

    While `running`, the connection is kept open. It is replaced, and the name resolved again, when it fails,
    when the server sends no reply in time, and when the server refuses to execute commands: READONLY,
    LOADING, MASTERDOWN, NOREPLICAS, MISCONF, OOM and the like. Replicas, Sentinels and nodes of a cluster are
    refused. Commands are not repeated.

    Args:
        url: URL that `check_redis_url` accepts.
        reply_s: Seconds in which Redis must send a reply while commands wait for one. While it replies to
            others, a command waits four times as long. Also the seconds that a command waits for a
            connection.
        setting: Name of the variable with the URL, for messages.

    Attributes:
        interruptions: Number of connections that have ended; after each, another server may reply.
    """

    def __init__(self, url: Secret, *, reply_s: float, setting: str = "REDIS_URL") -> None:
        arguments: dict[str, Any] = dict(parse_url(url.reveal()))
        self._connection_class = arguments.pop("connection_class", Connection)
        # The link has its own timeouts. RESP 2: a proxy may not have RESP 3.
        self._arguments = arguments | {
            "socket_timeout": None,
            "socket_connect_timeout": _CONNECT_S,
            "protocol": 2,
        }
        self._reply_s = reply_s
        self._setting = setting
        self._link: Link | None = None
        self._changed = asyncio.Event()
        self._failure = RedisFailure("connection", "there is no connection to Redis")
        self._is_away = False
        self.interruptions = 0

    async def execute(self, *command: str | bytes | float) -> Any:
        """Execute a command and return its reply, with strings as `bytes`.

        Without a connection it waits for the first attempt to open one; after a failed attempt it raises at
        once until there is a connection again.

        Raises:
            RedisFailure: The command was not executed, or its reply did not arrive.
        """
        link = self._link or await self._connected()
        return await link.send(command)

    async def ping(self) -> None:
        """Check that Redis replies.

        Raises:
            RedisFailure: It does not.
        """
        await self.execute("PING")

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Keep a connection open until the block ends, which starts after the first attempt to open one."""
        raised: Exception | None = None
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(self._run())
            try:
                # At most `_CONNECT_S` seconds: a failed attempt sets it, too.
                await self._changed.wait()
                yield
            except Exception as error:  # noqa: BLE001 - raised below: the group would wrap it
                raised = error
            finally:
                task.cancel()
        if raised is not None:
            raise raised

    async def _connected(self) -> Link:
        if not self._is_away:
            try:
                async with asyncio.timeout(self._reply_s):
                    await self._changed.wait()
            except TimeoutError:
                # Requests that follow do not wait for the same attempt.
                self._set_away(RedisFailure("connection", "there is no connection to Redis yet"))
        if self._link is None:
            raise RedisFailure(self._failure.kind, str(self._failure))
        return self._link

    async def _run(self) -> None:
        failures = 0
        while True:
            started_at = time.monotonic()
            try:
                failure = await self._use_connection()
            except Exception as error:  # noqa: BLE001 - a failed attempt, whatever its cause
                failures += 1
                self._set_away(failure_of(error, setting=self._setting))
            else:
                failures = 0 if time.monotonic() - started_at >= _STABLE_S else failures + 1
                self._failure = failure
                if failures <= 1:
                    # The name may lead to another server by now.
                    continue
                self._set_away(failure)
            await asyncio.sleep(_PAUSES.pause_s(failures - 1))

    async def _use_connection(self) -> RedisFailure:
        """Use one connection until it fails and return the failure; raises if it cannot be opened."""
        try:
            async with asyncio.timeout(_CONNECT_S):
                link = await open_link(
                    self._connection_class, self._arguments, reply_s=self._reply_s, setting=self._setting
                )
        except TimeoutError:
            reason = f"Redis did not accept a connection within {_CONNECT_S:g} second(s)"
            raise RedisFailure("connection", reason) from None
        self._link, self._is_away = link, False
        self._changed.set()
        try:
            return await link.run()
        finally:
            self._link = None
            self.interruptions += 1
            self._changed.clear()

    def _set_away(self, failure: RedisFailure) -> None:
        self._failure, self._is_away = failure, True
        self._changed.set()
