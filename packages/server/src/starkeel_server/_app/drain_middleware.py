"""The outermost layer: knows every exchange that is open, and ends what would not end by itself."""

import asyncio
from collections.abc import Callable

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, Scope, Send

from .._ipc.scoreboard import WorkerSlot
from .tracked_request import Exchange, HttpExchange, WebSocketExchange

STREAMS_END_S = 1.0
"""Seconds that a handler has to notice that its stream or WebSocket was ended."""

_LOOK_S = 0.1

CLEAN_UP_S = 0.3
"""Seconds that a cancelled handler has to clean up; short, as the grace is over by then."""


class DrainMiddleware:
    """Wraps the whole application of a worker that main can drain.

    Args:
        app: The application.
        slot: Where main says what to do.
        body_timeout_s: Seconds that a client may keep a request waiting for its body.
    """

    def __init__(self, app: ASGIApp, slot: WorkerSlot, *, body_timeout_s: float) -> None:
        self._body_timeout_s = body_timeout_s
        self._app = app
        self._slot = slot
        self._open: set[Exchange] = set()
        self._is_ending = False
        self._changed = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or WebSocket."""
        exchange: Exchange
        if scope["type"] == ScopeType.HTTP:
            exchange = HttpExchange(receive, send, self._slot, body_timeout_s=self._body_timeout_s)
        else:
            exchange = WebSocketExchange(receive, send)
        if self._is_ending:
            exchange.end()
        self._open.add(exchange)
        try:
            await self._app(scope, exchange.receive, exchange.send)
            await exchange.complete()
        except (asyncio.CancelledError, Exception):
            # What an application says about being cut off is not news: the client has had its answer.
            if not exchange.was_cut:
                raise
        finally:
            self._open.discard(exchange)
            self._changed.set()

    async def end_streams(self) -> None:
        """End event streams and WebSockets, now and as soon as a new one starts.

        Their handlers are told that the client has gone; those that do not listen are cut off.
        """
        self._is_ending = True
        streams = {exchange for exchange in self._open if exchange.end()}
        await self._until_closed(streams, timeout_s=STREAMS_END_S)
        await _cut(streams & self._open)

    async def finish(self, left_s: Callable[[], float]) -> int:
        """Wait for what is in flight, then answer the rest with 503 and cancel it.

        Args:
            left_s: Seconds that are left, which may become less than they were.

        Returns:
            How many had to be cancelled.
        """
        while self._open and (left := left_s()) > 0:
            await self._until_closed(set(self._open), timeout_s=min(left, _LOOK_S))
        late = set(self._open)
        await _cut(late)
        # Cancelled handlers may have something to clean up, a database transaction for one.
        await self._until_closed(late, timeout_s=CLEAN_UP_S)
        return len(late)

    async def _until_closed(self, exchanges: set[Exchange], *, timeout_s: float) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                while exchanges & self._open:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return


async def _cut(exchanges: set[Exchange]) -> None:
    for exchange in exchanges:
        await exchange.cut()
