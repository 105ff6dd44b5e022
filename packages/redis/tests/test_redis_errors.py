"""Errors that a server sends instead of replies."""

import asyncio
from typing import Any

import pytest
from starkeel_config import Secret
from starkeel_redis import RedisClient, RedisFailure


def _client(url: str) -> RedisClient:
    return RedisClient(Secret(url), reply_s=0.25)


async def _failure(client: RedisClient, *command: Any) -> RedisFailure:
    with pytest.raises(RedisFailure) as raised:
        await client.execute(*command)
    return raised.value


@pytest.mark.parametrize(
    "code", ["LOADING", "MASTERDOWN", "READONLY", "OOM", "NOREPLICAS", "MISCONF", "BUSY", "NOAUTH", "FUTURE"]
)
@pytest.mark.parametrize(
    "text", ["-{} reason\r\n", "-ERR Error running script: @user_script:1: -{} reason\r\n"]
)
async def test_an_error_of_the_server_closes_the_connection(scripted: Any, code: str, text: str) -> None:
    scripted.reply = text.format(code).encode()
    client = _client(scripted.url)
    async with client.running():
        failure = await _failure(client, "X")
        assert not failure.is_of_command
        scripted.reply = b"+OK\r\n"
        assert await client.execute("X") == b"OK"
    assert scripted.connections == 2


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (b"-ERR syntax error\r\n", "command"),
        (b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n", "command"),
        (b"-NOPERM this user has no permissions\r\n", "command"),
        (b"-NOSCRIPT No matching script. Please use EVAL.\r\n", "script"),
        (b"-ERR Error running script: @user_script:1: -WRONGTYPE Operation\r\n", "command"),
    ],
)
async def test_an_error_of_a_command_keeps_the_connection(scripted: Any, reply: bytes, kind: str) -> None:
    scripted.reply = reply
    client = _client(scripted.url)
    async with client.running():
        failures = await asyncio.gather(*(_failure(client, "X") for _ in range(10)))
        assert {failure.kind for failure in failures} == {kind}
        assert (await _failure(client, "X", object())).kind == "command"
    assert scripted.connections == 1
