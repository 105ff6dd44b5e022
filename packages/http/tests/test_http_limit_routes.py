"""Rate limits of routes: declared names, and users counted after the guards."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from litestar import Controller, Litestar, Router, get
from litestar.config.app import AppConfig
from litestar.connection import ASGIConnection
from litestar.di import NamedDependency
from litestar.exceptions import ImproperlyConfiguredException, NotAuthorizedException, WebSocketDisconnect
from litestar.handlers import BaseRouteHandler, WebsocketListener
from litestar.plugins import InitPlugin
from litestar.testing import TestClient
from starkeel_http import (
    AccountLimit,
    HttpPlugin,
    HttpSettings,
    Rate,
    limit_by_account,
    limit_by_address,
    limit_by_user,
)


class User(NamedTuple):
    subject: str


async def authenticate(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    user = connection.headers.get("x-user")
    if not user:
        raise NotAuthorizedException
    connection.scope["user"] = User(user)


def test_an_undeclared_limit_is_rejected_at_application_creation() -> None:
    @get("/", opt=limit_by_address("sing_up"))
    async def handler() -> None: ...

    plugin = HttpPlugin(HttpSettings(), limits={"sign_up": Rate.parse("1/minute")})
    with pytest.raises(
        ImproperlyConfiguredException, match=r"`sing_up`.* not in `limits` of HttpPlugin \(`sign_up`\)"
    ):
        Litestar([handler], plugins=[plugin])


def test_limits_need_valid_names() -> None:
    for limit in (limit_by_address, limit_by_user):
        with pytest.raises(ValueError, match="at least one name"):
            limit()
    with pytest.raises(ValueError, match="'Sign up' is not a valid name"):
        HttpPlugin(HttpSettings(), limits={"Sign up": Rate.parse("1/minute")})


class Reports(Controller):
    path = "/controller"
    guards = [authenticate]  # noqa: RUF012  (as Litestar has it)
    opt = limit_by_user("by_user")

    @get("/reports")
    async def reports(self) -> None: ...


class Listener(WebsocketListener):
    path = "/listener"
    guards = [authenticate]  # noqa: RUF012
    opt = limit_by_user("by_user")

    def on_receive(self, data: str) -> str:
        return data


@get("/handler", guards=[authenticate], opt=limit_by_user("by_user"))
async def limited_handler() -> None: ...


@get("/items", guards=[authenticate])
async def routed_handler() -> None: ...


ROUTER = Router("/router", route_handlers=[routed_handler], opt=limit_by_user("by_user"))


NESTED = Router("/outer", route_handlers=[Router("/inner", route_handlers=[Reports])])


def _app(routes: Sequence[Any], plugins: Sequence[Any] = ()) -> Litestar:
    edge = HttpPlugin(HttpSettings(), limits={"by_user": Rate.parse("1/hour")})
    return Litestar(routes, plugins=[edge, *plugins])


@pytest.mark.parametrize(
    ("route", "path"),
    [
        (limited_handler, "/handler"),
        (Reports, "/controller/reports"),
        (ROUTER, "/router/items"),
        (NESTED, "/outer/inner/controller/reports"),
    ],
)
def test_users_are_counted_after_the_guards_of_any_route(route: Any, path: str) -> None:
    # Twice: applications may share their handlers.
    for _ in range(2):
        with TestClient(_app([route])) as client:
            assert [client.get(path).status_code for _ in range(2)] == [401] * 2
            statuses = [client.get(path, headers={"X-User": "ada"}).status_code for _ in range(2)]
            assert statuses == [200, 429]
            assert client.get(path, headers={"X-User": "bob"}).status_code == 200


def test_the_headers_of_several_limits_are_lists() -> None:
    @get("/", guards=[authenticate], opt=limit_by_address("visits") | limit_by_user("reads", "by_user"))
    async def handler() -> None: ...

    limits = {"visits": Rate(9, 60), "reads": Rate(8, 60), "by_user": Rate(1, 3600)}
    with TestClient(Litestar([handler], plugins=[HttpPlugin(HttpSettings(), limits)])) as client:
        response, refused = (client.get("/", headers={"X-User": "ada"}) for _ in range(2))

    assert response.headers.get_list("ratelimit-policy") == [
        '"visits";q=9;w=60, "reads";q=8;w=60, "by_user";q=1;w=3600'
    ]
    assert response.headers.get_list("ratelimit") == [
        '"visits";r=8;t=60, "reads";r=7;t=60, "by_user";r=0;t=3600'
    ]
    assert (refused.status_code, len(refused.headers.get_list("ratelimit"))) == (429, 1)


def test_a_request_is_allowed_again_when_the_oldest_leaves_the_window(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    @get("/", opt=limit_by_address("visits"))
    async def handler() -> None: ...

    clock = SimpleNamespace(now=1000.0, monotonic=lambda: clock.now)
    monkeypatch.setattr("starkeel_http._rate_limit.process.time", clock)
    seen = []
    with TestClient(
        Litestar([handler], plugins=[HttpPlugin(HttpSettings(), {"visits": Rate(2, 60)})])
    ) as client:
        for clock.now in (1000.0, 1020.0, 1059.0, 1060.0, 1060.0, 1080.0):
            response = client.get("/")
            seen.append((response.status_code, response.headers["ratelimit"]))

    assert seen == [
        (200, '"visits";r=1;t=60'),
        (200, '"visits";r=0;t=40'),
        (429, '"visits";r=0;t=1'),
        (200, '"visits";r=0;t=20'),
        (429, '"visits";r=0;t=20'),
        (200, '"visits";r=0;t=40'),
    ]


def test_the_setting_decides_what_a_route_counts() -> None:
    @get("/", guards=[authenticate], opt=limit_by_address("visits"))
    async def handler() -> None: ...

    for by, of_another_user in (("address", 429), ("user", 200)):
        limits = {"visits": Rate.parse(f"1/hour; by={by}")}
        with TestClient(Litestar([handler], plugins=[HttpPlugin(HttpSettings(), limits)])) as client:
            statuses = [
                client.get("/", headers={"X-User": user}).status_code for user in ("ada", "ada", "bob")
            ]
        assert statuses == [200, 429, of_another_user]


@pytest.mark.parametrize(
    ("options", "by", "reason"),
    [
        (
            limit_by_address("visits"),
            "user",
            "no guard of the route authenticates the user. Use `by=address`",
        ),
        (limit_by_address("visits"), "account", "the route counts it by address. Use `by=address`"),
    ],
)
def test_a_setting_that_a_route_cannot_follow_is_rejected(
    options: dict[str, Any], by: str, reason: str
) -> None:
    @get("/", opt=options)
    async def handler() -> None: ...

    edge = HttpPlugin(HttpSettings(), {"visits": Rate.parse(f"1/hour; by={by}")})
    with pytest.raises(ImproperlyConfiguredException, match=f"`visits` has `by={by}`.*{reason}"):
        Litestar([handler], plugins=[edge])


@pytest.mark.parametrize("has_option", [False, True])
def test_the_limit_and_the_dependency_of_accounts_belong_together(has_option: bool) -> None:
    @get("/", opt=limit_by_account("visits") if has_option else {})
    async def with_dependency(account_limit: NamedDependency[AccountLimit]) -> None: ...

    @get("/", opt=limit_by_account("visits"))
    async def without_dependency() -> None: ...

    handler = without_dependency if has_option else with_dependency
    edge = HttpPlugin(HttpSettings(), {"visits": Rate.parse("1/hour")})
    with pytest.raises(ImproperlyConfiguredException, match="both `limit_by_account` in its `opt` and the"):
        Litestar([handler], plugins=[edge])


def test_users_of_websockets_are_counted() -> None:
    with TestClient(_app([Listener])) as client:
        headers = {"X-User": "ada"}
        with client.websocket_connect("/listener", headers=headers) as connection:
            connection.send_text("hello")
            assert connection.receive_text() == "hello"
        with pytest.raises(WebSocketDisconnect) as caught:
            client.websocket_connect("/listener", headers=headers).__enter__()
        assert caught.value.code == 4429


class GuardsEverything(InitPlugin):
    def on_app_init(self, app_config: AppConfig) -> AppConfig:
        for handler in app_config.route_handlers:
            if isinstance(handler, BaseRouteHandler):
                handler.guards = [*(handler.guards or ()), authenticate]
        return app_config


def test_a_user_limit_that_is_not_the_last_guard_is_rejected() -> None:
    with pytest.raises(ImproperlyConfiguredException, match=r"is not the last guard of .*limited_handler"):
        _app([limited_handler], [GuardsEverything()])


def test_a_user_limit_of_a_route_registered_later_is_rejected() -> None:
    app = _app([])

    with pytest.raises(ImproperlyConfiguredException, match="pass the route to `Litestar`"):
        app.register(limited_handler)
