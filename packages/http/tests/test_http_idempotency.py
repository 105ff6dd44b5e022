"""`Idempotency-Key`, as it is read and refused; how it works is seen with a database, in orders."""

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
from starkeel_http import EdgePlugin, EdgeSettings, Idempotency
from starkeel_http._idempotency.key import parse_key

VISIBLE = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=255)


@given(VISIBLE)
def test_a_quoted_key_reads_back(key: str) -> None:
    escaped = key.replace("\\", "\\\\").replace('"', '\\"')

    assert parse_key(f'"{escaped}"') == key


@given(st.text(max_size=300))
def test_any_text_is_a_key_or_a_400(text: str) -> None:
    try:
        key = parse_key(text)
    except ClientException:
        return
    assert 1 <= len(key) <= 255
    assert key.isascii()
    assert key.isprintable()


class User:
    subject = "ada"


async def known(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    connection.scope["user"] = User()


class Memory(InitPlugin):
    """A store by shape."""

    def __init__(self) -> None:
        self.kept: dict[bytes, Any] = {}

    async def claim_idempotency_key(self, scope: Any, key: bytes) -> Any:
        return self.kept.get(key, "free")

    async def keep_idempotent_answer(self, scope: Any, key: bytes, answer: Any) -> bool:
        return self.kept.setdefault(key, tuple(answer)) == tuple(answer)


def test_an_application_without_a_store_does_not_start() -> None:
    @post("/", guards=[known])
    async def handler(idempotency: NamedDependency[Idempotency]) -> None: ...

    app = Litestar([handler], plugins=[EdgePlugin(EdgeSettings())])

    async def start() -> None:
        async with app.lifespan():
            pass

    with pytest.raises(BaseExceptionGroup) as caught:
        asyncio.run(start())
    assert caught.group_contains(ImproperlyConfiguredException, match="claim_idempotency_key")


async def test_one_of_two_at_once_is_told_to_come_back() -> None:
    begun, goes_on = asyncio.Event(), asyncio.Event()
    executed = 0

    @post("/", guards=[known])
    async def handler(idempotency: NamedDependency[Idempotency]) -> str:
        nonlocal executed
        await idempotency.claim()
        executed += 1
        begun.set()
        await goes_on.wait()
        return "done"

    async with _client(handler) as client, asyncio.TaskGroup() as tasks:
        first = tasks.create_task(client.post("/", headers={"Idempotency-Key": "k"}))
        await begun.wait()
        refused = await client.post("/", headers={"Idempotency-Key": "k"})
        goes_on.set()
        answered = await first
        again = await client.post("/", headers={"Idempotency-Key": '"k"'})
        other = await client.post("/?x=1", headers={"Idempotency-Key": "k"})

    assert (refused.status_code, refused.headers["retry-after"]) == (409, "1")
    assert (answered.status_code, answered.text) == (again.status_code, again.text) == (201, "done")
    assert other.status_code == 422
    assert executed == 1


async def test_a_handler_that_never_claims_is_a_500_and_not_a_promise() -> None:
    @post("/", guards=[known])
    async def handler(idempotency: NamedDependency[Idempotency]) -> str:
        return "done"

    async with _client(handler) as client:
        answer = await client.post("/", headers={"Idempotency-Key": "k"})

    assert answer.status_code == 500
    assert "done" not in answer.text


class _client:  # noqa: N801 - reads as what it gives
    def __init__(self, handler: Any) -> None:
        self._app = Litestar([handler], plugins=[EdgePlugin(EdgeSettings()), Memory()])

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
