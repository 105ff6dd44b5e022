"""The plugin does not change how Litestar handles exceptions."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from litestar import Litestar, Request, Response, WebSocket, get, websocket
from litestar.config.cors import CORSConfig
from litestar.exceptions import NotAuthorizedException, WebSocketDisconnect, WebSocketException
from litestar.params import FromPath
from litestar.response import Stream
from litestar.testing import TestClient
from starkeel_config import load
from starkeel_observability import ObservabilityPlugin, ObservabilitySettings


class Odd(Exception):
    """Has a handler."""


class Worse(Exception):
    """Has a handler that fails itself."""


@get("/{what:str}")
async def raises(what: FromPath[str]) -> Response[Any]:
    if what == "odd":
        raise Odd(what)
    if what == "worse":
        raise Worse(what)
    if what == "forbidden":
        raise NotAuthorizedException("access denied")
    raise ValueError(what)


@get("/breaks-off")
async def breaks_off() -> Stream:
    async def parts() -> AsyncIterator[bytes]:
        yield b"one"
        raise Odd("half way")

    return Stream(parts())


@websocket("/socket/{what:str}")
async def socket(socket: WebSocket[Any, Any, Any], what: FromPath[str]) -> None:
    if what != "before":
        await socket.accept()
    raise WebSocketException("explicit", code=4321) if what == "explicit" else Odd(what)


def handle_odd(_: Request[Any, Any, Any], error: Odd) -> Response[dict[str, str]]:
    return Response({"odd": str(error)}, status_code=418)


def handle_worse(_: Request[Any, Any, Any], error: Worse) -> Response[dict[str, str]]:
    raise ValueError("the handler") from error


def app(*, is_observed: bool, **options: Any) -> tuple[Litestar, list[str]]:
    seen: list[str] = []

    async def note(error: Exception, _scope: Any) -> None:
        seen.append(repr(error))

    settings = load(ObservabilitySettings, {}, service="test")
    made = Litestar(
        [raises, breaks_off, socket],
        plugins=[ObservabilityPlugin(settings)] if is_observed else [],
        exception_handlers={Odd: handle_odd, Worse: handle_worse},
        after_exception=[note],
        **options,
    )
    return made, seen


@pytest.mark.parametrize("options", [{}, {"cors_config": CORSConfig(allow_origins=["https://a.example"])}])
@pytest.mark.parametrize("what", ["odd", "forbidden", "other", "a/b/c", "worse", "breaks-off"])
def test_the_plugin_does_not_change_error_responses(what: str, options: dict[str, Any]) -> None:
    def response(*, is_observed: bool) -> tuple[int, bytes, list[str]]:
        made, seen = app(is_observed=is_observed, **options)
        with TestClient(made, raise_server_exceptions=False) as client:
            got = client.get(f"/{what}", headers={"origin": "https://a.example"})
        # A handler that fails itself is the test client's plain text without us, a problem with us.
        return got.status_code, b"" if what == "worse" else got.content, seen

    assert response(is_observed=True) == response(is_observed=False)


@pytest.mark.parametrize("what", ["before", "after", "explicit"])
def test_the_plugin_does_not_change_how_failed_websockets_close(what: str) -> None:
    def close(*, is_observed: bool) -> tuple[int, str, list[str]]:
        made, seen = app(is_observed=is_observed)
        with (
            TestClient(made) as client,
            pytest.raises(WebSocketDisconnect) as left,
            client.websocket_connect(f"/socket/{what}") as connection,
        ):
            connection.receive_text()
        return left.value.code, left.value.detail, seen

    assert close(is_observed=True) == close(is_observed=False)
