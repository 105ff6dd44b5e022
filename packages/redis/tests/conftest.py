"""A scripted server, and a forwarder that leads to one of two servers."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import closing

import pytest
from starkeel_testing import OwnRedis, TcpForwarder, running_redis

PASSWORD = "same-for-all-servers"


class ScriptedRedis:
    """Server that sends a fixed reply to each command that is not part of the sign-in."""

    def __init__(self) -> None:
        self.reply = b"+OK\r\n"
        self.hello = b"-ERR unknown command `HELLO`\r\n"
        self.pause_s = 0.0
        self.connections = 0
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while header := await reader.readline():
                command = []
                for _ in range(int(header[1:])):
                    length = int((await reader.readline())[1:])
                    command.append((await reader.readexactly(length + 2))[:-2])
                if command[0] == b"CLIENT":
                    writer.write(b"+OK\r\n")
                elif command[0] == b"HELLO":
                    writer.write(self.hello)
                else:
                    await asyncio.sleep(self.pause_s)
                    writer.write(self.reply)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@pytest.fixture
async def scripted() -> AsyncIterator[ScriptedRedis]:
    server = ScriptedRedis()
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.url = f"redis://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    yield server
    listening.close()


@pytest.fixture
def servers() -> Iterator[tuple[OwnRedis, OwnRedis]]:
    """Run a primary and a server that can take its place."""
    with running_redis(password=PASSWORD) as first, running_redis(password=PASSWORD) as second:
        yield first, second


@pytest.fixture
def forwarder() -> Iterator[TcpForwarder]:
    with closing(TcpForwarder(None)) as forwarder:
        yield forwarder


@pytest.fixture
def until() -> Callable[..., object]:
    """Return a function that awaits a condition until it is true, at most some seconds."""

    async def wait(condition: Callable[[], Awaitable[bool]], *, timeout_s: float = 20.0) -> None:
        async with asyncio.timeout(timeout_s):
            while not await condition():  # noqa: ASYNC110 - conditions of other processes
                await asyncio.sleep(0.01)

    return wait
