"""A driver that sends requests to an application without a server."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
from litestar import Litestar
from starkeel_asgi import pipeline_of

Send = Callable[[Any], Awaitable[None]]


class Driver:
    """Sends requests to an application.

    Attributes:
        sent: Messages of the last response.
    """

    def __init__(self, app: Litestar) -> None:
        self.app = app
        self.pipeline = pipeline_of(app)
        self.sent: list[Any] = []

    async def request(
        self,
        target: str,
        *chunks: bytes,
        receive: Callable[[], Awaitable[Any]] | None = None,
        send: Send | None = None,
        **scope: Any,
    ) -> list[Any]:
        """Send a request such as `GET /path` and return the messages of the response."""
        messages = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
        messages.append({"type": "http.request", "body": b"", "more_body": False})
        sent = self.sent = []

        async def receive_next() -> Any:
            return messages.pop(0) if messages else {"type": "http.disconnect"}

        async def keep(message: Any) -> None:
            sent.append(message)

        await self.app(self.scope(target, **scope), receive or receive_next, send or keep)
        return sent

    @staticmethod
    def scope(target: str, **scope: Any) -> Any:
        """Return the scope of a request such as `GET /path`."""
        method, path = target.split()
        given: dict[str, Any] = {"type": "http", "method": method, "path": path, "raw_path": path.encode()}
        given |= {
            "query_string": b"",
            "headers": [(b"host", b"x")],
            "client": ("192.0.2.1", 5),
            "root_path": "",
        }
        return given | {"server": ("127.0.0.1", 80), "scheme": "http", "http_version": "1.1", **scope}


Drive = Callable[..., AbstractAsyncContextManager[Driver]]


@pytest.fixture
def drive() -> Drive:
    """Return a context manager: an application of handlers, with layers, and what drives it."""

    @asynccontextmanager
    async def opened(handlers: list[Any], *layers: Any, **options: Any) -> AsyncIterator[Driver]:
        def add(app: Litestar) -> None:
            for layer in layers:
                pipeline_of(app).add(layer)

        app = Litestar(handlers, on_startup=[add], openapi_config=None, **options)
        async with app.lifespan():
            yield Driver(app)

    return opened
