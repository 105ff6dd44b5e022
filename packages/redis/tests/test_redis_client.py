"""The client on real servers in all states, and on a server that sends scripted replies."""

import asyncio
import re
import time
from collections.abc import Callable
from typing import Any

import pytest
from starkeel_config import Secret
from starkeel_redis import RedisClient, RedisFailure
from starkeel_testing import OwnRedis, TcpForwarder

Until = Callable[..., Any]
REPLY_S = 0.25


def _client(url: str) -> RedisClient:
    return RedisClient(Secret(url), reply_s=REPLY_S)


async def _failure(client: RedisClient, *command: Any) -> RedisFailure:
    with pytest.raises(RedisFailure) as raised:
        await client.execute(*command)
    return raised.value


async def test_concurrent_commands_share_one_connection_and_get_their_own_replies(
    own_redis: OwnRedis,
) -> None:
    client = _client(own_redis.url)
    async with client.running():
        replies = await asyncio.gather(*(client.execute("ECHO", number) for number in range(1000)))
        clients = await client.execute("CLIENT", "LIST")

    assert replies == [str(number).encode() for number in range(1000)]
    assert len(clients.splitlines()) == 1


async def test_abandoned_commands_do_not_disturb_others(own_redis: OwnRedis) -> None:
    client = _client(own_redis.url)
    async with client.running():
        own_redis.pause()
        async with asyncio.TaskGroup() as tasks:
            sent = [tasks.create_task(client.execute("ECHO", number)) for number in range(100)]
            await asyncio.sleep(0)
            for task in sent[::2]:
                task.cancel()
            own_redis.resume()
        assert [await task for task in sent[1::2]] == [str(n).encode() for n in range(1, 100, 2)]


async def test_large_commands_and_replies_are_complete(own_redis: OwnRedis) -> None:
    client = _client(own_redis.url)
    async with client.running():
        texts = [bytes([65 + number]) * 500_000 for number in range(20)]
        assert await asyncio.gather(*(client.execute("ECHO", text) for text in texts)) == texts


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({"min-replicas-to-write": "1"}, "NOREPLICAS"),
        ({"maxmemory": "1"}, "command not allowed when used memory"),
        ({"replicaof": "127.0.0.1 1"}, "read only replica"),
        ({"replica-serve-stale-data": "no", "replicaof": "127.0.0.1 1"}, "MASTER is down|read only replica"),
    ],
)
@pytest.mark.parametrize("command", [("SET", "k", 1), ("EVAL", "return redis.call('SET', 'k', 1)", 0)])
async def test_a_server_that_refuses_writes_is_replaced(
    servers: tuple[OwnRedis, OwnRedis],
    forwarder: TcpForwarder,
    until: Until,
    settings: dict[str, str],
    code: str,
    command: tuple[Any, ...],
) -> None:
    first, second = servers
    forwarder.target = first.port
    client = _client(forwarder.url(first.url))
    async with client.running():
        assert await client.execute("SET", "k", 1) == b"OK"
        for name, value in settings.items():
            if name == "replicaof":
                first.execute("REPLICAOF", *value.split())
            else:
                first.execute("CONFIG", "SET", name, value)

        failure = await _failure(client, *command)
        assert failure.kind == "server"
        assert re.search(code, str(failure))
        forwarder.target = second.port

        async def is_written() -> bool:
            try:
                await client.execute("SET", "k", 1)
            except RedisFailure:
                return False
            return second.execute("DBSIZE") == 1

        await until(is_written, timeout_s=2)


async def test_a_hung_server_is_replaced(
    servers: tuple[OwnRedis, OwnRedis], forwarder: TcpForwarder, until: Until
) -> None:
    first, second = servers
    forwarder.target = first.port
    client = _client(forwarder.url(first.url))
    async with client.running():
        await client.ping()
        first.pause()
        failure = await _failure(client, "PING")
        assert (failure.kind, str(failure)) == ("connection", "Redis did not reply within 0.25 seconds")
        # The kernel accepts connections for a process that is suspended.
        assert (await _failure(client, "PING")).kind == "connection"

        async def is_explained() -> bool:
            return "did not accept a connection within 1 second" in str(await _failure(client, "PING"))

        await until(is_explained)
        forwarder.target = second.port
        await until(lambda: _succeeds(client), timeout_s=2)


async def test_a_connection_that_was_cut_while_idle_is_replaced_before_the_next_command(
    own_redis: OwnRedis, forwarder: TcpForwarder, until: Until
) -> None:
    forwarder.target = own_redis.port
    client = _client(forwarder.url(own_redis.url))
    async with client.running():
        await client.ping()
        forwarder.cut()

        async def is_accepted() -> bool:
            return forwarder.accepted == 2

        await until(is_accepted)
        assert await client.execute("ECHO", "again") == b"again"
        assert forwarder.accepted == 2


async def test_while_redis_is_away_commands_fail_at_once_and_do_not_connect(
    forwarder: TcpForwarder, own_redis: OwnRedis, until: Until
) -> None:
    client = _client(forwarder.url(own_redis.url))
    async with client.running():
        for _ in range(1000):
            assert (await _failure(client, "PING")).kind == "connection"
        assert forwarder.accepted < 20
        forwarder.target = own_redis.port
        await until(lambda: _succeeds(client), timeout_s=2)


async def test_commands_wait_for_a_server_that_is_slow_but_replies(scripted: Any) -> None:
    scripted.pause_s = 0.01
    client = _client(scripted.url)
    async with client.running():
        replies = await asyncio.gather(*(client.execute("X") for _ in range(50)))
    assert replies == [b"OK"] * 50
    assert scripted.connections == 1


async def test_a_blocked_event_loop_is_no_failure_of_redis(own_redis: OwnRedis) -> None:
    client = _client(own_redis.url)
    async with client.running():
        await client.ping()
        sent = [asyncio.ensure_future(client.execute("ECHO", number)) for number in range(100)]
        # They are written, and the replies arrive while the loop is blocked.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        time.sleep(REPLY_S * 2)  # noqa: ASYNC251 - blocks the loop
        assert await asyncio.gather(*sent) == [str(number).encode() for number in range(100)]


@pytest.mark.parametrize(
    "reply", [b"-MOVED 3999 127.0.0.1:6381\r\n", b"-CLUSTERDOWN Hash slot not served\r\n"]
)
async def test_a_node_of_a_cluster_is_refused_by_its_replies(scripted: Any, reply: bytes) -> None:
    scripted.reply = reply
    client = _client(scripted.url)
    async with client.running():
        failure = await _failure(client, "X")
    assert failure.kind == "setting"
    assert str(failure).startswith("`REDIS_URL` names a node of a Redis Cluster, which is not supported")


async def test_a_cluster_is_refused_before_any_command(own_redis: OwnRedis) -> None:
    own_redis.close()
    own_redis.start(cluster_enabled="yes")
    client = _client(own_redis.url)
    async with client.running():
        failure = await _failure(client, "PING")
    assert str(failure).startswith("`REDIS_URL` names a node of a Redis Cluster")


async def test_a_sentinel_is_refused(scripted: Any) -> None:
    scripted.hello = b"*4\r\n$4\r\nmode\r\n$8\r\nsentinel\r\n$5\r\nproto\r\n:2\r\n"
    client = _client(scripted.url)
    async with client.running():
        failure = await _failure(client, "PING")
    assert str(failure) == "`REDIS_URL` names a Redis Sentinel instead of a primary"


async def test_a_wrong_password_is_reported_without_it(own_redis: OwnRedis) -> None:
    client = _client(f"redis://:hunter2@127.0.0.1:{own_redis.port}")
    async with client.running():
        failure = await _failure(client, "PING")
    assert failure.kind == "setting"
    assert "check the user and the password in `REDIS_URL`" in str(failure)
    assert "hunter2" not in repr(failure)


@pytest.mark.parametrize("reply", [b"?\r\n", b"$-5\r\n", b"+OK\r\n+OK\r\n", b"*x\r\n"])
async def test_a_reply_that_is_not_of_redis_closes_the_connection(
    scripted: Any, reply: bytes, until: Until
) -> None:
    scripted.reply = reply
    client = _client(scripted.url)
    async with client.running():
        try:
            await client.execute("X")
        except RedisFailure as failure:
            assert failure.kind == "connection"  # noqa: PT017 - the second of two replies arrives later
        scripted.reply = b"+OK\r\n"

        async def is_replaced() -> bool:
            return scripted.connections == 2 and await _succeeds(client)

        await until(is_replaced)


async def test_databases_and_sockets_of_the_url_are_used(own_redis: OwnRedis, tmp_path: Any) -> None:
    own_redis.close()
    own_redis.start(unixsocket=str(tmp_path / "redis.sock"))
    password = own_redis.url.split(":")[2].split("@")[0]
    for url in (f"{own_redis.url}/3", f"unix://:{password}@{tmp_path}/redis.sock?db=4"):
        client = _client(url)
        async with client.running():
            assert await client.execute("SET", "k", "v") == b"OK"
    assert set(own_redis.execute("INFO", "keyspace")) == {"db3", "db4"}


async def test_an_exception_of_the_block_is_raised_unchanged(own_redis: OwnRedis) -> None:
    with pytest.raises(LookupError, match="the block"):
        async with _client(own_redis.url).running():
            raise LookupError("the block")


async def test_the_connection_is_closed_at_the_end(own_redis: OwnRedis, until: Until) -> None:
    client = _client(own_redis.url)
    async with client.running():
        await client.ping()
    assert (await _failure(client, "PING")).kind == "connection"

    async def is_closed() -> bool:
        return len(own_redis.execute("CLIENT", "LIST").splitlines()) == 1

    await until(is_closed)


async def _succeeds(client: RedisClient) -> bool:
    try:
        await client.ping()
    except RedisFailure:
        return False
    return True
