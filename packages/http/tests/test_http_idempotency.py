"""Parsing of `Idempotency-Key` and its errors; the tests of orders cover it with a database."""

import asyncio
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from litestar import Litestar, post
from litestar.connection import ASGIConnection
from litestar.di import NamedDependency
from litestar.exceptions import ClientException, ImproperlyConfiguredException
from litestar.handlers import BaseRouteHandler
from litestar.plugins import InitPlugin
from starkeel_http import HttpPlugin, HttpSettings, Idempotency
from starkeel_http._idempotency.key import parse_key

VISIBLE = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=255)


@given(VISIBLE)
def test_parsing_inverts_quoting(key: str) -> None:
    escaped = key.replace("\\", "\\\\").replace('"', '\\"')

    assert parse_key(f'"{escaped}"') == key


@given(st.text(max_size=300))
def test_any_text_is_a_valid_key_or_a_400(text: str) -> None:
    try:
        key = parse_key(text)
    except ClientException:
        return
    assert 1 <= len(key) <= 255
    assert key.isascii()
    assert key.isprintable()


class User:
    subject = "ada"


async def authenticate(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    connection.scope["user"] = User()


class MemoryStore(InitPlugin):
    """In-memory storage of responses."""

    def __init__(self) -> None:
        self.stored: dict[bytes, Any] = {}

    async def claim_idempotency_key(self, scope: Any, key: bytes) -> Any:
        return self.stored.get(key, "free")

    async def keep_idempotent_answer(self, scope: Any, key: bytes, response: Any) -> bool:
        return self.stored.setdefault(key, tuple(response)) == tuple(response)


def test_without_storage_the_application_does_not_start() -> None:
    @post("/", guards=[authenticate])
    async def handler(idempotency: NamedDependency[Idempotency]) -> None: ...

    app = Litestar([handler], plugins=[HttpPlugin(HttpSettings())])

    async def start() -> None:
        async with app.lifespan():
            pass

    with pytest.raises(BaseExceptionGroup) as caught:
        asyncio.run(start())
    assert caught.group_contains(ImproperlyConfiguredException, match="claim_idempotency_key")


async def test_a_concurrent_request_with_the_same_key_is_a_409() -> None:
    started, proceed = asyncio.Event(), asyncio.Event()
    executed = 0

    @post("/", guards=[authenticate])
    async def handler(idempotency: NamedDependency[Idempotency]) -> str:
        nonlocal executed
        await idempotency.claim()
        executed += 1
        started.set()
        await proceed.wait()
        return "done"

    async with _client(handler) as client, asyncio.TaskGroup() as tasks:
        first = tasks.create_task(client.post("/", headers={"Idempotency-Key": "k"}))
        await started.wait()
        conflict = await client.post("/", headers={"Idempotency-Key": "k"})
        proceed.set()
        first_response = await first
        retried = await client.post("/", headers={"Idempotency-Key": '"k"'})
        other = await client.post("/?x=1", headers={"Idempotency-Key": "k"})

    assert (conflict.status_code, conflict.headers["retry-after"]) == (409, "1")
    assert (
        (first_response.status_code, first_response.text)
        == (retried.status_code, retried.text)
        == (201, "done")
    )
    assert other.status_code == 422
    assert executed == 1


async def test_a_handler_that_never_claims_is_a_500() -> None:
    @post("/", guards=[authenticate])
    async def handler(idempotency: NamedDependency[Idempotency]) -> str:
        return "done"

    async with _client(handler) as client:
        response = await client.post("/", headers={"Idempotency-Key": "k"})

    assert response.status_code == 500
    assert "done" not in response.text


class _client:  # noqa: N801 - used like a function
    def __init__(self, handler: Any) -> None:
        self._app = Litestar([handler], plugins=[HttpPlugin(HttpSettings()), MemoryStore()])

    async def __aenter__(self) -> httpx2.AsyncClient:
        self._life = self._app.lifespan()
        await self._life.__aenter__()
        transport = httpx2.ASGITransport(self._asgi, raise_app_exceptions=False)
        self._client = httpx2.AsyncClient(transport=transport, base_url="http://test")
        return self._client

    async def _asgi(self, scope: Any, receive: Any, send: Any) -> None:
        await self._app(scope, receive, send)

    async def __aexit__(self, *error: Any) -> None:
        await self._client.aclose()
        await self._life.__aexit__(None, None, None)
