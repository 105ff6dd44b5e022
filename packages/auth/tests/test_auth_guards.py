"""Guards on controllers, event streams and WebSockets, and the state they set."""

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
from starkeel_config import FeaturesHook, ReadinessCriticalHook, misspelled_hooks
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
    async def data() -> AsyncGenerator[str]:
        yield principal.subject

    return ServerSentEvent(data())


@websocket("/live", guards=[requires_scope("orders:read")])
async def live(socket: WebSocket[Any, Any, Any], principal: NamedDependency[Principal]) -> None:
    await socket.accept()
    await socket.send_text(principal.subject)
    await socket.close()


@websocket("/subprotocol", guards=[authenticated])
async def subprotocol(socket: WebSocket[Any, Any, Any]) -> None:
    await socket.accept(subprotocols="v2")
    await socket.close()


@get("/dependency")
async def with_dependency(principal: NamedDependency[Principal]) -> str:
    return principal.subject


@get("/open")
async def unguarded() -> str:
    return "in"


@pytest.fixture
def client(keys: SigningKeys) -> Iterator[TestClient[Litestar]]:
    settings = IssuerSettings(issuer="https://accounts.example.com", audience="fleet")
    handlers: list[ControllerRouterHandler] = [Orders, events, live, subprotocol, with_dependency, unguarded]
    with TestClient(Litestar(handlers, plugins=[AuthPlugin.issuer(settings, keys)])) as client:
        yield client


def test_a_handler_receives_the_principal(client: TestClient[Litestar], bearer: Bearer) -> None:
    answer = client.get("/orders", headers=bearer())

    assert answer.json() == {"subject": SUBJECT, "scopes": ["orders:read", "orders:write"], "by": "accounts"}


def test_the_principal_is_in_the_scope_and_the_log_context(
    client: TestClient[Litestar], bearer: Bearer
) -> None:
    assert client.get("/orders/write", headers=bearer()).json() == {"user": SUBJECT, "user_id": SUBJECT}


def test_a_missing_scope_is_named(client: TestClient[Litestar], bearer: Bearer) -> None:
    answer = client.get("/orders/write", headers=bearer(scope="orders:write"))

    assert answer.status_code == 403
    assert answer.headers["WWW-Authenticate"] == (
        'Bearer realm="fleet", error="insufficient_scope", scope="orders:read orders:write"'
    )


@pytest.mark.parametrize("scope", ["", None, "orders:writer", "ORDERS:READ ORDERS:WRITE", "orders"])
def test_scopes_are_compared_exactly(client: TestClient[Litestar], bearer: Bearer, scope: str | None) -> None:
    assert client.get("/orders/write", headers=bearer(scope=scope)).status_code == 403


@pytest.mark.parametrize("path", ["/orders", "/orders/write", "/events", "/dependency"])
def test_a_guarded_route_without_a_token_returns_401(client: TestClient[Litestar], path: str) -> None:
    assert client.get(path).status_code == 401


def test_an_unguarded_route_ignores_the_token(client: TestClient[Litestar]) -> None:
    assert client.get("/open", headers={"Authorization": "Bearer nonsense"}).status_code == 200


def test_an_event_stream_is_guarded(client: TestClient[Litestar], bearer: Bearer) -> None:
    answer = client.get("/events", headers=bearer())

    assert (answer.status_code, answer.text) == (200, f"data: {SUBJECT}\r\n\r\n")
    assert client.get("/events", headers=bearer(scope="")).status_code == 403


def test_a_websocket_token_is_read_from_the_header(client: TestClient[Litestar], bearer: Bearer) -> None:
    with client.websocket_connect("/live", headers=bearer()) as socket:
        assert socket.receive_text() == SUBJECT
        assert socket.accepted_subprotocol is None


def test_a_websocket_token_is_read_from_the_subprotocols(
    client: TestClient[Litestar], bearer: Bearer
) -> None:
    token = bearer()["Authorization"].removeprefix("Bearer ")

    with client.websocket_connect("/live", subprotocols=["v1", "bearer", token]) as socket:
        assert socket.receive_text() == SUBJECT
        assert socket.accepted_subprotocol == "bearer"
    with client.websocket_connect("/subprotocol", subprotocols=["v2", "bearer", token]) as socket:
        assert socket.accepted_subprotocol == "v2"


@pytest.mark.parametrize(
    ("subprotocols", "code"), [([], 4401), (["bearer"], 4401), (["bearer", "nonsense"], 4401)]
)
def test_a_websocket_without_a_valid_token_is_rejected(
    client: TestClient[Litestar], subprotocols: list[str], code: int
) -> None:
    with pytest.raises(WebSocketDisconnect) as caught, client.websocket_connect("/live", subprotocols):
        pass
    assert caught.value.code == code


def test_a_websocket_without_the_scope_is_rejected(client: TestClient[Litestar], bearer: Bearer) -> None:
    with (
        pytest.raises(WebSocketDisconnect) as caught,
        client.websocket_connect("/live", headers=bearer(scope="")),
    ):
        pass
    assert caught.value.code == 4403


def test_no_token_is_logged_or_returned(client: TestClient[Litestar], bearer: Bearer) -> None:
    foreign = bearer(by=SigningKeys.from_pem(generate_private_key_pem()))

    with capture_logs() as logged:
        answer = client.get("/orders", headers=foreign)

    assert [entry["event"] for entry in logged] == ["token refused"]
    token = foreign["Authorization"].removeprefix("Bearer ")
    for part in token.split("."):
        assert part not in str(logged) + answer.text + str(answer.headers)
    principal = Principal(subject="u", scopes=frozenset(), token=token, expires_at=0)
    assert token not in repr(principal)


@pytest.mark.parametrize("scopes", [(), ("",), ("two words",), ('quo"te',), ("ok", "né")])
def test_an_invalid_scope_name_raises(scopes: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="scope"):
        requires_scope(*scopes)


def test_a_guard_without_the_plugin_returns_500() -> None:
    @get("/alone", guards=[authenticated])
    async def alone() -> None: ...

    with TestClient(Litestar([alone])) as client:
        assert client.get("/alone").status_code == 500


def test_a_verifier_requires_the_url_of_the_keys() -> None:
    settings: Any = IssuerSettings(issuer="i", audience="a")

    with pytest.raises(TypeError, match="AuthSettings"):
        AuthPlugin.verifier(settings)


def test_the_constructor_is_deprecated_but_works(keys: SigningKeys, bearer: Bearer) -> None:
    settings = IssuerSettings(issuer="https://accounts.example.com", audience="fleet")

    with pytest.warns(DeprecationWarning, match=r"AuthPlugin\.issuer") as caught:
        plugin = AuthPlugin(settings, keys)

    assert caught[0].filename == __file__
    with TestClient(Litestar([with_dependency], plugins=[plugin])) as client:
        assert client.get("/dependency", headers=bearer()).text == SUBJECT


def test_the_plugin_implements_its_hooks(keys: SigningKeys) -> None:
    plugin = AuthPlugin.issuer(IssuerSettings(issuer="i", audience="a"), keys)

    assert isinstance(plugin, ReadinessCriticalHook)
    assert isinstance(plugin, FeaturesHook)
    assert misspelled_hooks(plugin) == []


def test_the_openapi_document_lists_security_requirements(client: TestClient[Litestar]) -> None:
    document = client.get("/schema/openapi.json").json()

    assert document["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
    security = {path: methods["get"].get("security") for path, methods in document["paths"].items()}
    assert security == {
        "/orders": [{"bearer": []}],
        "/orders/write": [{"bearer": ["orders:read", "orders:write"]}],
        "/events": [{"bearer": ["orders:read"]}],
        "/dependency": None,
        "/open": None,
    }


def test_security_schemes_of_the_application_are_kept(keys: SigningKeys) -> None:
    own = SecurityScheme(type="http", scheme="basic")
    config = OpenAPIConfig("orders", "1", components=Components(security_schemes={"basic": own}))
    settings = IssuerSettings(issuer="i", audience="a")

    first = Litestar([unguarded], openapi_config=config, plugins=[AuthPlugin.issuer(settings, keys)])
    second = Litestar([unguarded], openapi_config=config)

    assert first.openapi_schema.components.security_schemes is not None
    assert set(first.openapi_schema.components.security_schemes) == {"basic", "bearer"}
    assert set(second.openapi_schema.components.security_schemes or {}) == {"basic"}
