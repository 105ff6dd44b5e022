"""Open requests of a draining worker: streams and WebSockets are ended, requests may finish in time."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from starkeel_asgi import Exchange, HttpExchange, LayerOrder, Pipeline, WebSocketExchange

from .._ipc.scoreboard import WorkerSlot

STREAMS_END_S = 1.0
"""Seconds that a handler has to return once its stream or WebSocket was ended."""

ABORT_S = 0.2
"""Seconds that the server has to accept the 503 responses of all aborted requests."""
CLEAN_UP_S = 0.3
"""Seconds that a cancelled handler has to clean up; short, as the grace period is over by then."""
_CHECK_EVERY_S = 0.1
_Exchanges = set[HttpExchange | WebSocketExchange]


class Drain:
    """The outermost layer of a worker; the main process starts the drain through the worker's `slot`.

    A client may keep a request waiting for its body for `body_timeout_s` seconds.
    """

    order = LayerOrder.DRAIN

    def __init__(self, pipeline: Pipeline, slot: WorkerSlot, *, body_timeout_s: float) -> None:
        self._pipeline = pipeline
        self._slot = slot
        self._closed = asyncio.Event()
        pipeline.config.body_timeout_s = body_timeout_s
        pipeline.config.before_headers = self._before_headers

    def begin(self, exchange: Exchange) -> None:
        """End a stream or WebSocket that starts while the worker ends them."""
        exchange.end()

    def end(self, _exchange: Exchange, _error: BaseException | None) -> None:
        """Do nothing; the pipeline reports what has closed."""

    async def end_streams(self) -> None:
        """End event streams and WebSockets, now and as soon as a new one starts.

        Their handlers see a disconnect; handlers that ignore it are cancelled.
        """
        self._pipeline.add(self)
        self._pipeline.on_closed = self._closed.set
        streams = {exchange for exchange in self._pipeline.open_exchanges() if exchange.end()}
        await self._wait_until_closed(streams, timeout_s=STREAMS_END_S)
        await _abort(streams & self._pipeline.open_exchanges())

    async def finish(self, left_s: Callable[[], float]) -> int:
        """Wait for open requests, then respond to the rest with 503 and cancel them.

        Args:
            left_s: Returns the seconds that are left; they may become less.

        Returns:
            Number of cancelled requests.
        """
        pipeline = self._pipeline
        while (exchanges := pipeline.open_exchanges()) and (left := left_s()) > 0:
            await self._wait_until_closed(exchanges, timeout_s=min(left, _CHECK_EVERY_S))
        late = pipeline.open_exchanges()
        await _abort(late)
        # Cancelled handlers may have something to clean up, such as a transaction.
        await self._wait_until_closed(late, timeout_s=CLEAN_UP_S)
        return len(late)

    async def _wait_until_closed(self, exchanges: _Exchanges, *, timeout_s: float) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                while exchanges & self._pipeline.open_exchanges():
                    self._closed.clear()
                    await self._closed.wait()
        except TimeoutError:
            return

    def _before_headers(self, exchange: HttpExchange) -> None:
        # Read for each response: clients should leave from the first moment of the drain.
        if self._slot.is_draining:
            exchange.must_close = True


async def _abort(exchanges: _Exchanges) -> None:
    """Abort exchanges concurrently, within `ABORT_S`: a client may not read what is sent to it."""
    with suppress(TimeoutError):
        async with asyncio.timeout(ABORT_S), asyncio.TaskGroup() as tasks:
            for exchange in exchanges:
                # An abort that is cancelled still cancels the application.
                tasks.create_task(exchange.abort())
