"""Guards: on controllers, event streams and WebSockets, and what they leave for others."""

from collections.abc import AsyncGenerator, Callable, Iterator
from typing import Any

import pytest
import structlog
from litestar import Controller, Litestar, Request, WebSocket, get, websocket
from litestar.di import NamedDependency
from litestar.exceptions import WebSocketDisconnect
from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import Components, SecurityScheme
from litestar.response import ServerSentEvent
from litestar.testing import TestClient
from litestar.types import ControllerRouterHandler
from starkeel_auth import (
    AuthPlugin,
    IssuerSettings,
    Principal,
    SigningKeys,
    authenticated,
    generate_private_key_pem,
    requires_scope,
)
from structlog.testing import capture_logs

Bearer = Callable[..., dict[str, str]]
SUBJECT = "01890a5d-ac96-774b-bcce-b302099a8057"


class Orders(Controller):
    path = "/orders"
    guards = (authenticated,)

    @get()
    async def page(self, principal: NamedDependency[Principal]) -> dict[str, Any]:
        return {"subject": principal.subject, "scopes": sorted(principal.scopes), "by": principal.client_id}

    @get("/write", guards=[requires_scope("orders:write", "orders:read")])
    async def write(self, request: Request[Any, Any, Any]) -> dict[str, Any]:
        bound = structlog.contextvars.get_contextvars()
        return {"user": request.user.subject, "user_id": bound["user_id"]}


@get("/events", guards=[requires_scope("orders:read")])
async def events(principal: NamedDependency[Principal]) -> ServerSentEvent:
    async def said() -> AsyncGenerator[str]:
        yield principal.subject

    return ServerSentEvent(said())


@websocket("/live", guards=[requires_scope("orders:read")])
async def live(socket: WebSocket[Any, Any, Any], principal: NamedDependency[Principal]) -> None:
    await socket.accept()
    await socket.send_text(principal.subject)
    await socket.close()


@websocket("/chosen", guards=[authenticated])
async def chosen(socket: WebSocket[Any, Any, Any]) -> None:
    await socket.accept(subprotocols="v2")
    await socket.close()


@get("/asks")
async def asks(principal: NamedDependency[Principal]) -> str:
    return principal.subject


@get("/open")
async def everybody() -> str:
    return "in"


@pytest.fixture
def client(keys: SigningKeys) -> Iterator[TestClient[Litestar]]:
    settings = IssuerSettings(issuer="https://accounts.example.com", audience="fleet")
    handlers: list[ControllerRouterHandler] = [Orders, events, live, chosen, asks, everybody]
    with TestClient(Litestar(handlers, plugins=[AuthPlugin(settings, keys)])) as client:
        yield client


def test_a_handler_gets_who_asks(client: TestClient[Litestar], bearer: Bearer) -> None:
    answer = client.get("/orders", headers=bearer())

    assert answer.json() == {"subject": SUBJECT, "scopes": ["orders:read", "orders:write"], "by": "accounts"}


def test_others_see_who_asks(client: TestClient[Litestar], bearer: Bearer) -> None:
    assert client.get("/orders/write", headers=bearer()).json() == {"user": SUBJECT, "user_id": SUBJECT}


def test_a_missing_scope_is_named(client: TestClient[Litestar], bearer: Bearer) -> None:
    answer = client.get("/orders/write", headers=bearer(scope="orders:write"))

    assert answer.status_code == 403
    assert answer.headers["WWW-Authenticate"] == (
        'Bearer realm="fleet", error="insufficient_scope", scope="orders:read orders:write"'
    )


@pytest.mark.parametrize("scope", ["", None, "orders:writer", "ORDERS:READ ORDERS:WRITE", "orders"])
def test_scopes_are_compared_whole(client: TestClient[Litestar], bearer: Bearer, scope: str | None) -> None:
    assert client.get("/orders/write", headers=bearer(scope=scope)).status_code == 403


@pytest.mark.parametrize("path", ["/orders", "/orders/write", "/events", "/asks"])
def test_every_guarded_route_is_closed_without_a_token(client: TestClient[Litestar], path: str) -> None:
    assert client.get(path).status_code == 401


def test_an_open_route_does_not_look_at_the_token(client: TestClient[Litestar]) -> None:
    assert client.get("/open", headers={"Authorization": "Bearer nonsense"}).status_code == 200


def test_an_event_stream_is_guarded(client: TestClient[Litestar], bearer: Bearer) -> None:
    answer = client.get("/events", headers=bearer())

    assert (answer.status_code, answer.text) == (200, f"data: {SUBJECT}\r\n\r\n")
    assert client.get("/events", headers=bearer(scope="")).status_code == 403


def test_a_websocket_takes_the_token_from_the_header(client: TestClient[Litestar], bearer: Bearer) -> None:
    with client.websocket_connect("/live", headers=bearer()) as socket:
        assert socket.receive_text() == SUBJECT
        assert socket.accepted_subprotocol is None


def test_a_browsers_websocket_takes_it_from_the_subprotocols(
    client: TestClient[Litestar], bearer: Bearer
) -> None:
    token = bearer()["Authorization"].removeprefix("Bearer ")

    with client.websocket_connect("/live", subprotocols=["v1", "bearer", token]) as socket:
        assert socket.receive_text() == SUBJECT
        assert socket.accepted_subprotocol == "bearer"
    with client.websocket_connect("/chosen", subprotocols=["v2", "bearer", token]) as socket:
        assert socket.accepted_subprotocol == "v2"


@pytest.mark.parametrize(
    ("subprotocols", "code"), [([], 4401), (["bearer"], 4401), (["bearer", "nonsense"], 4401)]
)
def test_a_websocket_without_a_good_token_is_not_accepted(
    client: TestClient[Litestar], subprotocols: list[str], code: int
) -> None:
    with pytest.raises(WebSocketDisconnect) as caught, client.websocket_connect("/live", subprotocols):
        pass
    assert caught.value.code == code


def test_a_websocket_without_the_scope_is_not_accepted(client: TestClient[Litestar], bearer: Bearer) -> None:
    with (
        pytest.raises(WebSocketDisconnect) as caught,
        client.websocket_connect("/live", headers=bearer(scope="")),
    ):
        pass
    assert caught.value.code == 4403


def test_no_token_is_logged_or_shown(client: TestClient[Litestar], bearer: Bearer) -> None:
    by_another = bearer(by=SigningKeys.from_pem(generate_private_key_pem()))

    with capture_logs() as logged:
        answer = client.get("/orders", headers=by_another)

    assert [entry["event"] for entry in logged] == ["token refused"]
    token = by_another["Authorization"].removeprefix("Bearer ")
    for part in token.split("."):
        assert part not in str(logged) + answer.text + str(answer.headers)
    principal = Principal(subject="u", scopes=frozenset(), token=token, expires_at=0)
    assert token not in repr(principal)


@pytest.mark.parametrize("scopes", [(), ("",), ("two words",), ('quo"te',), ("ok", "né")])
def test_what_is_no_scope_is_refused_where_it_is_written(scopes: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="scope"):
        requires_scope(*scopes)


def test_a_guard_without_the_plugin_lets_nobody_in() -> None:
    @get("/alone", guards=[authenticated])
    async def alone() -> None: ...

    with TestClient(Litestar([alone])) as client:
        assert client.get("/alone").status_code == 500


def test_the_plugin_needs_keys_or_where_to_fetch_them() -> None:
    with pytest.raises(TypeError, match="AuthSettings"):
        AuthPlugin(IssuerSettings(issuer="i", audience="a"))


def test_the_document_says_which_routes_take_a_token(client: TestClient[Litestar]) -> None:
    document = client.get("/schema/openapi.json").json()

    assert document["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
    asked = {path: methods["get"].get("security") for path, methods in document["paths"].items()}
    assert asked == {
        "/orders": [{"bearer": []}],
        "/orders/write": [{"bearer": ["orders:read", "orders:write"]}],
        "/events": [{"bearer": ["orders:read"]}],
        "/asks": None,
        "/open": None,
    }


def test_what_the_application_says_in_its_document_stays(keys: SigningKeys) -> None:
    own = SecurityScheme(type="http", scheme="basic")
    config = OpenAPIConfig("orders", "1", components=Components(security_schemes={"basic": own}))
    settings = IssuerSettings(issuer="i", audience="a")

    first = Litestar([everybody], openapi_config=config, plugins=[AuthPlugin(settings, keys)])
    second = Litestar([everybody], openapi_config=config)

    assert first.openapi_schema.components.security_schemes is not None
    assert set(first.openapi_schema.components.security_schemes) == {"basic", "bearer"}
    assert set(second.openapi_schema.components.security_schemes or {}) == {"basic"}
