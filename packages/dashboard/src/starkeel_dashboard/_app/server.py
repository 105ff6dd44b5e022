"""The application, its background tasks and its server."""

import asyncio
import logging
import signal
import socket
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any

import uvicorn
from litestar import Litestar, MediaType, Request, Response
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler

from .._sources.calls import Calls
from .._sources.channel import Channel
from .._sources.poller import Poller
from .._sources.services import Services
from .._store.store import Store
from .calls import call_handlers
from .data import data_handlers
from .grpc_receiver import grpc_server
from .guard import Guard
from .pages import page_handlers, problem_page, service_handlers
from .receiver import Receiver

log = logging.getLogger(__name__)


class Dashboard:
    """A dashboard that listens on a socket.

    Args:
        listener: Bound socket.
        url: URL without a path that programs and browsers use.
        token: Token that requests need; empty for none.
        store: Where what arrives is kept.
        services: Services that were named.
        grpc_address: Host and port for OTLP over gRPC; empty for none.
    """

    def __init__(
        self,
        listener: socket.socket,
        url: str,
        *,
        token: str,
        store: Store,
        services: Services,
        grpc_address: str = "",
    ) -> None:
        self._listener = listener
        self._token = token
        self._grpc_address = grpc_address
        self._store = store
        self._services = services
        self._channel = Channel(services, store)
        self._receiver = Receiver(store)
        app = Litestar(
            self._handlers(url),
            lifespan=[self._polling],
            openapi_config=None,
            exception_handlers={HTTPException: _problem, Exception: _failure},
            logging_config=None,
        )
        config = uvicorn.Config(
            Guard(app, token),
            http="h11",
            ws="none",
            lifespan="on",
            access_log=False,
            log_config=None,
            server_header=False,
            # Streams of live updates have no end of their own.
            timeout_graceful_shutdown=1,
        )
        self._server = _Server(config, store)

    def _handlers(self, url: str) -> list[HTTPRouteHandler]:
        calls = Calls(self._services, self._channel)
        return [
            *self._receiver.handlers(),
            *page_handlers(self._store, self._services, url),
            *service_handlers(self._store, self._services, self._channel),
            *call_handlers(self._services, calls),
            *data_handlers(self._store, self._services),
        ]

    @asynccontextmanager
    async def _polling(self, _: Litestar) -> AsyncGenerator[None]:
        async with asyncio.TaskGroup() as tasks:
            polling = tasks.create_task(Poller(self._services, self._store).run())
            try:
                yield
            finally:
                polling.cancel()

    async def run(self, on_listening: Callable[[], None], *, is_supervised: bool) -> None:
        """Serve until a signal arrives.

        Args:
            on_listening: Called once connections are accepted.
            is_supervised: Whether to read messages from standard input, until it ends.

        Raises:
            GrpcError: The port for gRPC cannot be opened.
        """
        async with AsyncExitStack() as stack:
            if self._grpc_address:
                limit = self._store.limits.body_bytes
                receiving = grpc_server(
                    self._receiver, self._grpc_address, token=self._token, max_bytes=limit
                )
                await stack.enter_async_context(receiving)
            on_listening()
            await self._serve(is_supervised=is_supervised)

    async def _serve(self, *, is_supervised: bool) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, self._server.stop)
        if not is_supervised:
            await self._server.serve([self._listener])
            return
        async with asyncio.TaskGroup() as tasks:
            reading = tasks.create_task(self._channel.run())
            reading.add_done_callback(lambda _: self._server.stop())
            await self._server.serve([self._listener])
            reading.cancel()


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, store: Store) -> None:
        super().__init__(config)
        self._store = store

    def stop(self) -> None:
        """End the server as a signal does."""
        self.should_exit = True

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Leave the signals to the event loop: uvicorn would raise them again, and end with their code."""
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the streams of live updates, then stop."""
        self._store.changes.close()
        await super().shutdown(sockets)


def _problem(request: Request[Any, Any, Any], error: HTTPException) -> Response[str]:
    """Return a page for browsers, and a text for programs."""
    if "text/html" in request.headers.get("accept", ""):
        return problem_page(error.status_code, f"{error.status_code}", error.detail)
    return Response(f"{error.detail}\n", status_code=error.status_code, media_type=MediaType.TEXT)


def _failure(request: Request[Any, Any, Any], error: Exception) -> Response[str]:
    log.error("request failed: %s %s", request.method, request.url.path, exc_info=error)
    return problem_page(500, "The page could not be shown", "The output of the dashboard has the reason.")
