"""One connection to Redis: commands are pipelined, and replies arrive in their order."""

import asyncio
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Final

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import AuthenticationError, ResponseError

from ._failures import RedisFailure, cluster_reason, failure_of

_QUEUE_FACTOR: Final = 4
"""Times of the reply timeout that a command may wait while Redis replies to others."""
_GRACE_S: Final = 0.02
"""Seconds to read what arrived while the event loop was blocked."""


async def open_link(
    connection_class: type[AbstractConnection], arguments: Mapping[str, Any], *, reply_s: float, setting: str
) -> "Link":
    """Connect to a primary; the name is resolved again.

    Args:
        connection_class: Class of the connection.
        arguments: Its arguments.
        reply_s: As for `Link`.
        setting: Name of the variable with the URL, for messages.

    Raises:
        RedisFailure: The server is a replica, a Sentinel or a node of a cluster.
        Exception: Any other failure, for `failure_of`.
    """
    connection = connection_class(**arguments)
    try:
        await connection.connect()  # type: ignore[no-untyped-call]  # has no types
        await _check_role(connection, setting)
    except BaseException:
        await connection.disconnect(nowait=True)
        raise
    return Link(connection, reply_s=reply_s, setting=setting)


async def _check_role(connection: AbstractConnection, setting: str) -> None:
    await connection.send_command("HELLO", 2, check_health=False)
    try:
        reply: Sequence[Any] = await connection.read_response()
    except AuthenticationError:
        raise
    except ResponseError:
        # Redis before 6.0, a proxy, or a user without the right.
        return
    facts = dict(zip(reply[::2], reply[1::2], strict=False))
    mode = facts.get(b"mode")
    if mode == b"cluster":
        raise RedisFailure("setting", cluster_reason(setting))
    if mode == b"sentinel":
        raise RedisFailure("setting", f"`{setting}` names a Redis Sentinel instead of a primary")
    if facts.get(b"role") in {b"replica", b"slave"}:
        raise RedisFailure("server", "the server is a replica")


class Link:
    """An open connection, shared by all commands.

    Args:
        connection: The connection, connected.
        reply_s: Seconds without any reply, while commands wait for one, after which the server has hung.
        setting: Name of the variable with the URL, for messages.
    """

    def __init__(self, connection: AbstractConnection, *, reply_s: float, setting: str) -> None:
        self._connection = connection
        self._reply_s = reply_s
        self._setting = setting
        self._loop = asyncio.get_running_loop()
        self._unsent: list[bytes] = []
        self._waiting: deque[tuple[asyncio.Future[Any], float]] = deque()
        self._replied_at = 0.0
        self._wake = asyncio.Event()
        self._is_open = True

    def send(self, command: Sequence[Any]) -> asyncio.Future[Any]:
        """Send a command and return the future of its reply.

        Raises:
            RedisFailure: An argument cannot be encoded, or the connection is closed.
        """
        if not self._is_open:
            raise RedisFailure("connection", "the connection is closed")
        try:
            packed = self._connection.pack_command(*command)
        except Exception as error:
            raise failure_of(error, setting=self._setting) from error
        future: asyncio.Future[Any] = self._loop.create_future()
        self._unsent += packed
        self._waiting.append((future, time.monotonic()))
        self._wake.set()
        return future

    async def run(self) -> RedisFailure:
        """Write commands and read replies until the connection fails; return the failure."""
        failure = RedisFailure("connection", "the connection was closed")
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._write())
                await self._read()
        except* Exception as group:  # noqa: BLE001 - the connection failed, whatever the cause
            failure = failure_of(group.exceptions[0], setting=self._setting)
        finally:
            self._is_open = False
            for future, _ in self._waiting:
                if not future.done():
                    # One for each: a traceback belongs to one task.
                    future.set_exception(RedisFailure(failure.kind, str(failure)))
            await self._connection.disconnect(nowait=True)
        return failure

    async def _read(self) -> None:
        while True:
            try:
                reply = await self._connection.read_response(disconnect_on_error=False)
            except Exception as error:
                failure = failure_of(error, setting=self._setting)
                if not self._waiting or not failure.is_of_command:
                    raise
                reply = failure
            self._replied_at = time.monotonic()
            future, _ = self._waiting.popleft()
            if future.done():
                # The task that waited was cancelled.
                continue
            if isinstance(reply, RedisFailure):
                future.set_exception(reply)
            else:
                future.set_result(reply)

    async def _write(self) -> None:
        while True:
            try:
                async with asyncio.timeout_at(self._due_at()):
                    await self._wake.wait()
            except TimeoutError:
                await self._check_replies()
                continue
            self._wake.clear()
            # What was sent in one iteration of the loop becomes one system call.
            unsent, self._unsent = b"".join(self._unsent), []
            async with asyncio.timeout(self._reply_s):
                await self._connection.send_packed_command(unsent, check_health=False)

    def _due_at(self) -> float | None:
        if not self._waiting:
            return None
        since = max(self._replied_at, self._waiting[0][1])
        return self._loop.time() + max(0.0, since + self._reply_s - time.monotonic())

    async def _check_replies(self) -> None:
        """Raise if the server has hung, or replies too slowly for its number of commands."""
        await asyncio.sleep(_GRACE_S)
        if not self._waiting:
            return
        now, sent_at = time.monotonic(), self._waiting[0][1]
        if now - max(self._replied_at, sent_at) >= self._reply_s:
            raise RedisFailure("connection", f"Redis did not reply within {self._reply_s:g} seconds")
        if now - sent_at >= self._reply_s * _QUEUE_FACTOR:
            raise RedisFailure("connection", "Redis replies too slowly for the number of commands")
