"""The open exchanges of a pipeline: those that wait for their turn, and those whose client may disconnect."""

import asyncio
from collections import deque
from itertools import takewhile
from time import perf_counter_ns
from typing import Final

from ._exchange.config import ExchangeConfig
from ._exchange.http import HttpExchange
from ._exchange.websocket import WebSocketExchange

MAX_RECENT: Final = 8
"""Number of recent requests from which no other begins while the event loop is late."""
AT_ONCE: Final = "starkeel_asgi.at_once"
"""Key in a handler's `opt`; with `True` its requests never wait for their turn, as those of probes."""

_LATE_NS: Final = 4_000_000
"""Nanoseconds of one iteration of the event loop from which it is late: the requests that execute keep it
busy, so that more at a time would only delay one another. While they wait for something else, its iterations
are short and every request begins at once.
"""
_LISTEN_AFTER_NS: Final = 50_000_000
"""Age in nanoseconds from which listening for a client's disconnect is worth its cost."""
_LISTEN_EVERY_S: Final = 0.025

AnyExchange = HttpExchange | WebSocketExchange
_Client = tuple[str | None, bytes | None]


class FairQueue:
    """Requests that have not begun, in rotation among clients, and of each client in their order.

    A client is an address with an `Authorization` header: a user with hundreds of connections delays others
    by one request each. A request whose client disconnects while it waits never begins.
    """

    def __init__(self) -> None:
        self.exchanges: dict[HttpExchange, None] = {}
        """Those that wait, in their order."""
        self._turns: dict[_Client, deque[asyncio.Future[None]]] = {}

    async def wait(self, exchange: HttpExchange) -> None:
        """Wait for the turn of a request."""
        turn = asyncio.get_running_loop().create_future()
        client = exchange.client, exchange.headers.get(b"authorization")
        self._turns.setdefault(client, deque()).append(turn)
        self.exchanges[exchange] = None
        exchange.is_queued = True
        try:
            await turn
        finally:
            # A cancelled turn stays in its queue until it is reached.
            exchange.is_queued = False
            self.exchanges.pop(exchange, None)

    def grant(self, count: int) -> None:
        """Begin the next requests, at most `count`."""
        while count > 0 and self._turns:
            client, turns = next(iter(self._turns.items()))
            del self._turns[client]
            turn = turns.popleft()
            if turns:
                # Behind the other clients.
                self._turns[client] = turns
            if not turn.done():
                turn.set_result(None)
                count -= 1


class OpenExchanges:
    """The open exchanges of a pipeline.

    Attributes:
        recent: Those that execute, in their order.
        lasting: Those that last: WebSockets, event streams, slow requests.
        queue: Those that have not begun.
        measured_in: The event loop whose current iteration is measured, if any.
        timed_in: The event loop that runs the timer, if any.
        is_late: Whether requests wait for their turn.
    """

    def __init__(self, config: ExchangeConfig) -> None:
        self._config = config
        self.recent: dict[AnyExchange, None] = {}
        self.lasting: dict[AnyExchange, None] = {}
        self.queue = FairQueue()
        self.measured_in: asyncio.AbstractEventLoop | None = None
        self.timed_in: asyncio.AbstractEventLoop | None = None
        self.is_late = False
        self._began_ns = 0

    def measure(self, began_ns: int) -> None:
        """Measure the iteration of the event loop in which a request arrived, in `perf_counter_ns()`."""
        self.measured_in, self._began_ns = self._config.loop, began_ns
        # Runs in the next iteration, before the requests that arrive in it.
        self._config.loop.call_soon(self._begin_iteration)
        if self.timed_in is not self._config.loop:
            self.timed_in = self._config.loop
            self._config.loop.call_later(_LISTEN_EVERY_S, self._listen)

    async def wait_for_turn(self, exchange: AnyExchange) -> None:
        """Wait for the turn of a request, except for a WebSocket and a route with `AT_ONCE`."""
        route = exchange.route
        if not isinstance(exchange, HttpExchange) or route is None or route.handler.opt.get(AT_ONCE):
            return
        del self.recent[exchange]
        await self.queue.wait(exchange)
        self.recent[exchange] = None

    def _begin_iteration(self) -> None:
        self.measured_in = None
        now = perf_counter_ns()
        was_late = now - self._began_ns > _LATE_NS
        if self.queue.exchanges:
            # One at a time while it is late: news of disconnects takes several iterations.
            self.queue.grant(MAX_RECENT if not was_late else int(len(self.recent) < MAX_RECENT))
        self.is_late = was_late or bool(self.queue.exchanges)
        if self.queue.exchanges:
            self.measure(now)

    def _listen(self) -> None:
        """Listen for the disconnect of clients whose requests begin to last, or wait."""
        self.timed_in = None
        limit = perf_counter_ns() - _LISTEN_AFTER_NS
        for exchange in list(takewhile(lambda exchange: exchange.received_ns <= limit, self.recent)):
            if isinstance(exchange, WebSocketExchange) or exchange.listen():
                del self.recent[exchange]
                self.lasting[exchange] = None
        for waiting in self.queue.exchanges:
            waiting.listen()
        if self.recent or self.queue.exchanges:
            self.timed_in = self._config.loop
            self._config.loop.call_later(_LISTEN_EVERY_S, self._listen)
