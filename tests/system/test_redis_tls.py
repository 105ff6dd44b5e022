"""Redis behind TLS: certificates are verified, by the authority that the URL names."""

import asyncio
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from starkeel_config import Secret
from starkeel_redis import RedisClient, RedisFailure, check_redis_url
from starkeel_testing import OwnRedis

from ..support.certificates import Authority


@asynccontextmanager
async def _terminating_tls(port: int, certificate: Path, key: Path) -> AsyncGenerator[int]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        replies, commands = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(pump(reader, commands), pump(replies, writer), return_exceptions=True)

    server = await asyncio.start_server(serve, "0.0.0.0", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def _ping(url: str) -> None:
    secret = Secret(url)
    check_redis_url(secret)
    client = RedisClient(secret, reply_s=1.0)
    async with client.running():
        await client.ping()


async def test_the_certificate_of_redis_is_verified(own_redis: OwnRedis, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    password = own_redis.url.split(":")[2].split("@")[0]
    async with _terminating_tls(own_redis.port, *authority.issue("redis.example")) as port:
        url = f"rediss://:{password}@127.0.0.1:{port}/0"
        await _ping(f"{url}?ssl_ca_certs={authority.certificate}")
        await _ping(f"{url}?ssl_cert_reqs=none&ssl_check_hostname=false")
        with pytest.raises(RedisFailure, match="certificate verify failed") as raised:
            await _ping(url)
        assert raised.value.kind == "connection"
        assert password not in str(raised.value)


async def test_the_name_in_the_certificate_is_verified(own_redis: OwnRedis, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    password = own_redis.url.split(":")[2].split("@")[0]
    async with _terminating_tls(own_redis.port, *authority.issue("redis.example")) as port:
        # Another name of the same host, which is not in the certificate.
        url = f"rediss://:{password}@127.0.0.2:{port}/0?ssl_ca_certs={authority.certificate}"
        with pytest.raises(RedisFailure, match="IP address mismatch") as raised:
            await _ping(url)
        assert raised.value.kind == "connection"
