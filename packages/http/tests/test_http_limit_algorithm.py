"""The windows of rate limits: the same in process memory and in Redis."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from litestar import Litestar, get
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from litestar.testing import TestClient
from starkeel_config import Secret
from starkeel_http import HttpPlugin, HttpSettings, Rate, limit_by_user
from starkeel_testing import OwnRedis, running_redis


class User(NamedTuple):
    subject: str


async def authenticate(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    connection.scope["user"] = User(connection.headers["x-user"])


@dataclass(frozen=True)
class Store:
    """A storage of counters, and a function that lets seconds pass."""

    settings: HttpSettings
    advance: Callable[[float], None]


@pytest.fixture(scope="module")
def own_server() -> Iterator[OwnRedis]:
    with running_redis() as server:
        yield server


@pytest.fixture(params=["process", "redis"])
def store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Store:
    if request.param == "process":
        clock = SimpleNamespace(now=1000.0, monotonic=lambda: clock.now)
        monkeypatch.setattr("starkeel_http._rate_limit.process.time", clock)

        def pass_time(seconds: float) -> None:
            clock.now += seconds

        return Store(HttpSettings(), pass_time)
    server: OwnRedis = request.getfixturevalue("own_server")
    server.execute("FLUSHALL")

    def age(seconds: float) -> None:
        for key in server.execute("KEYS", "*/reads/*"):
            times = [float(at) - seconds for at in server.execute("LRANGE", key, 0, -1)]
            server.execute("DEL", key)
            server.execute("RPUSH", key, *(f"{at:.6f}" for at in times))

    return Store(HttpSettings(redis_url=Secret(server.url)), age)


def _app(store: Store, rate: str) -> Litestar:
    @get("/", guards=[authenticate], opt=limit_by_user("reads"))
    async def handler() -> None: ...

    return Litestar([handler], plugins=[HttpPlugin(store.settings, {"reads": Rate.parse(rate)})])


# Seconds that pass, requests, and how many of them are allowed.
TIMELINES = [
    # A window that started again at some time would allow six requests around it.
    ("3/60 seconds", [(0, 3, 3), (59, 1, 0), (2, 4, 3), (30, 1, 0)]),
    ("3/60 seconds", [(0, 1, 1), (58, 2, 2), (3, 3, 1), (50, 1, 0), (8, 3, 2)]),
    # In any 30 seconds 5, and in any 60 seconds 10.
    ("10/60 seconds; burst=5", [(0, 6, 5), (29, 1, 0), (2, 7, 5), (15, 1, 0), (16, 9, 5)]),
    ("10/60 seconds; burst=5", [(0, 3, 3), (20, 4, 2), (11, 4, 3), (10, 1, 0), (10, 4, 2)]),
    ("4/60 seconds; burst=1", [(0, 2, 1), (14, 1, 0), (2, 2, 1), (16, 2, 1)]),
    ("1/60 seconds", [(0, 2, 1), (61, 2, 1)]),
]


@pytest.mark.parametrize(("rate", "timeline"), TIMELINES)
def test_no_moving_window_has_more_than_the_limit(
    store: Store, rate: str, timeline: list[tuple[float, int, int]]
) -> None:
    with TestClient(_app(store, rate)) as client:
        for seconds, requests, allowed in timeline:
            store.advance(seconds)
            statuses = [client.get("/", headers={"X-User": "ada"}).status_code for _ in range(requests)]
            assert statuses == [200] * allowed + [429] * (requests - allowed)
        assert client.get("/", headers={"X-User": "bob"}).status_code == 200


def test_a_burst_is_a_policy_of_its_own_in_the_headers(store: Store) -> None:
    with TestClient(_app(store, "10/minute; burst=2")) as client:
        responses = [client.get("/", headers={"X-User": "ada"}) for _ in range(3)]

    assert {response.headers["ratelimit-policy"] for response in responses} == {
        '"reads";q=10;w=60, "reads-burst";q=2;w=12'
    }
    assert [response.headers["ratelimit"] for response in responses] == [
        '"reads";r=9;t=60, "reads-burst";r=1;t=12',
        '"reads";r=8;t=60, "reads-burst";r=0;t=12',
        '"reads";r=8;t=60, "reads-burst";r=0;t=12',
    ]
    assert responses[2].headers["retry-after"] == "12"


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("10/minute", "10/minute"),
        (" 5 / 10 Seconds ", "5/10 seconds"),
        ("10/minute; burst=5; by=address", "10/minute; burst=5; by=address"),
        ("10/minute;by=user;burst = 5", "10/minute; burst=5; by=user"),
        ("10/minute; wide=40", "10/minute; wide=40"),
    ],
)
def test_a_rate_with_options_has_one_canonical_form(text: str, canonical: str) -> None:
    assert str(Rate.parse(text)) == canonical
    assert Rate.parse(canonical) == Rate.parse(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "does not start with a number of requests per time"),
        ("burst=5; 10/minute", "does not start with a number of requests per time"),
        ("0/minute", "allows no request"),
        ("99999/minute", "is out of range"),
        ("10/minute; brust=5", "has the unknown option `brust`: use burst, by or wide"),
        ("10/minute; 5", "has something after `;` that is not an option"),
        ("10/minute;", "has something after `;` that is not an option"),
        ("10/minute; burst=20", "has a `burst` above its 10 requests"),
        ("10/minute; burst=0", "has a value of `burst` that is not a number from 1 to 100000"),
        ("10/minute; burst=2; burst=3", "has the option `burst` twice"),
        ("10/minute; by=planet", "has an unknown value of `by`: use address, user or account"),
        ("10/minute; wide=5", "has a `wide` that is not from 10, its requests, to 100000"),
        ("10/minute; by=user; wide=50", "has `wide`, which is for addresses, and `by=user`"),
    ],
)
def test_an_invalid_rate_is_rejected_with_its_reason(text: str, message: str) -> None:
    with pytest.raises(ValueError, match="^" + message.replace("(", r"\(")):
        Rate.parse(text)
