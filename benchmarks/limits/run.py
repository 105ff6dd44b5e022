"""Measure the CPU time that rate limits add to a request, in a loop over the application without a server.

The time of Redis itself is not part of it. On a machine with other load the figures for Redis are too high:
each change of the process empties the caches.
"""

import asyncio
import time
from argparse import ArgumentParser, Namespace
from types import SimpleNamespace
from typing import Any

from litestar import Litestar, get
from starkeel_config import Secret
from starkeel_http import HttpPlugin, HttpSettings, Rate, limit_by_address, limit_by_user
from starkeel_testing import running_redis

from ..load import show

_LIMITS = {"visits": Rate(10_000, 1), "reads": Rate(10_000, 1), "bursts": Rate(10_000, 1, burst=1000)}


async def _authenticate(connection: Any, _: Any) -> None:
    connection.scope["user"] = SimpleNamespace(subject="ada")


@get("/unlimited", guards=[_authenticate])
async def _unlimited() -> None: ...


@get("/address", guards=[_authenticate], opt=limit_by_address("visits"))
async def _address() -> None: ...


@get("/burst", guards=[_authenticate], opt=limit_by_address("bursts"))
async def _burst() -> None: ...


@get("/both", guards=[_authenticate], opt=limit_by_address("visits") | limit_by_user("reads"))
async def _both() -> None: ...


_HANDLERS = [_unlimited, _address, _burst, _both]
_CASES = (
    ("address, IPv4", "/address", "192.0.2.1"),
    ("address, IPv6 with its /48", "/address", "2001:db8::1"),
    ("address with a burst", "/burst", "192.0.2.1"),
    ("address and user", "/both", "192.0.2.1"),
)


def main() -> None:
    """Run the benchmark."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--requests", type=int, default=320, help="requests of a round")
    parser.add_argument("--connections", type=int, default=16, help="requests at the same time")
    given = parser.parse_args()
    with running_redis() as server:
        asyncio.run(_measure("Redis", HttpSettings(redis_url=Secret(server.url)), given))
    asyncio.run(_measure("process memory", HttpSettings(), given))


async def _measure(where: str, settings: HttpSettings, given: Namespace) -> None:
    app = Litestar(_HANDLERS, plugins=[HttpPlugin(settings, _LIMITS)])
    async with app.lifespan():
        base_us = await _best_us(app, "/unlimited", "192.0.2.1", given)
        show(f"{where}: a request without limits takes {base_us:.1f} us")
        for name, path, client in _CASES:
            added_us = await _best_us(app, path, client, given) - base_us
            show(f"{where}: {name}: +{added_us:.1f} us")


async def _best_us(app: Litestar, path: str, client: str, given: Namespace) -> float:
    """Return the CPU time of a request in microseconds, in the best of all rounds."""

    async def requests() -> None:
        for _ in range(given.requests // given.connections):
            await _request(app, _scope(path, client))

    rounds = []
    for _ in range(given.rounds):
        before = time.thread_time_ns()
        await asyncio.gather(*(requests() for _ in range(given.connections)))
        rounds.append(time.thread_time_ns() - before)
    return min(rounds) / 1000 / given.requests


def _scope(path: str, client: str) -> Any:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(b"host", b"localhost")],
        "client": (client, 1),
        "server": ("localhost", 80),
        "state": {},
    }


async def _request(app: Litestar, scope: Any) -> None:
    received = iter([{"type": "http.request", "body": b"", "more_body": False}])
    ended = asyncio.Event()

    async def receive() -> Any:
        for message in received:
            return message
        await ended.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body" and not message.get("more_body"):
            ended.set()

    await app(scope, receive, send)  # type: ignore[arg-type]  # plain functions
    ended.set()


if __name__ == "__main__":
    main()
