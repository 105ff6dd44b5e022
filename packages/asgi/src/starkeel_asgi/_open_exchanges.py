"""The open exchanges of a pipeline: those that wait for their turn, and those whose client may disconnect."""

import asyncio
from collections import Counter, deque
from itertools import takewhile
from time import perf_counter_ns
from typing import Final

from ._exchange.config import ExchangeConfig
from ._exchange.http import HttpExchange
from ._exchange.websocket import WebSocketExchange

MAX_RECENT: Final = 4
"""Number of recent requests from which others wait for their turn.

More at a time would not be faster: one event loop executes them, and those that wait for something else soon
count as lasting.
"""
MAX_PER_CLIENT: Final = 32
"""Number of requests of one client that execute, lasting ones included, while others wait."""
_OVERDUE_NS: Final = 2_000_000_000
"""Nanoseconds after which a request no longer waits for others of its client."""
AT_ONCE: Final = "starkeel_asgi.at_once"
"""Key in a handler's `opt`; with `True` its requests never wait for their turn, as those of probes."""

_LISTEN_AFTER_NS: Final = 50_000_000
"""Age in nanoseconds from which listening for a client's disconnect is worth its cost."""
_LISTEN_EVERY_S: Final = 0.025
_SETTLE_S: Final = 0.01
_LATE_AFTER_NS: Final = 75_000_000
"""Nanoseconds without a turn of the event loop's timer from which requests wait for the next one."""

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
        self._turns: dict[_Client, deque[tuple[asyncio.Future[None], int]]] = {}
        self._running: Counter[_Client] = Counter()

    async def wait(self, exchange: HttpExchange) -> None:
        """Wait for the turn of a request."""
        turn = asyncio.get_running_loop().create_future()
        client = exchange.client, exchange.headers.get(b"authorization")
        self._turns.setdefault(client, deque()).append((turn, exchange.received_ns))
        self.exchanges[exchange] = None
        exchange.is_queued = True
        try:
            await turn
        finally:
            # A cancelled turn stays in its queue until it is reached.
            exchange.is_queued = False
            self.exchanges.pop(exchange, None)
        exchange.turn_of = client
        self._running[client] += 1

    def release(self, exchange: HttpExchange) -> None:
        """Count a request no longer among those of its client that execute."""
        client, exchange.turn_of = exchange.turn_of, None
        if client is not None:
            self._running[client] -= 1
            if not self._running[client]:
                del self._running[client]

    def grant(self) -> bool:
        """Begin the next request; return whether there was one."""
        overdue = perf_counter_ns() - _OVERDUE_NS
        for client, turns in self._turns.items():
            while turns and turns[0][0].done():
                turns.popleft()
            if turns and (self._running[client] < MAX_PER_CLIENT or turns[0][1] <= overdue):
                turns.popleft()[0].set_result(None)
                # Behind the other clients.
                del self._turns[client]
                if turns:
                    self._turns[client] = turns
                return True
        if not self.exchanges:
            self._turns.clear()
        return False


class OpenExchanges:
    """The open exchanges of a pipeline.

    Attributes:
        recent: Those that execute, in their order.
        lasting: Those that last: WebSockets, event streams, slow requests.
        queue: Those that have not begun.
        timed_in: The event loop that runs the timer, if any.
        late_from_ns: `perf_counter_ns()` from which the event loop is late. Requests then wait: that their
            clients have left is noticed only when the loop continues.
    """

    def __init__(self, config: ExchangeConfig) -> None:
        self._config = config
        self.recent: dict[AnyExchange, None] = {}
        self.lasting: dict[AnyExchange, None] = {}
        self.queue = FairQueue()
        self.timed_in: asyncio.AbstractEventLoop | None = None
        self.late_from_ns = 0
        self._is_granting = False

    async def wait_for_turn(self, exchange: AnyExchange) -> None:
        """Wait for the turn of a request, except for a WebSocket and a route with `AT_ONCE`."""
        route = exchange.route
        if not isinstance(exchange, HttpExchange) or route is None or route.handler.opt.get(AT_ONCE):
            return
        del self.recent[exchange]
        await self.queue.wait(exchange)
        self.recent[exchange] = None

    def grant(self) -> None:
        """Begin requests of the queue, one in each iteration of the event loop, as many as may be recent.

        News of a client's disconnect takes several iterations.
        """
        if not self._is_granting:
            self._is_granting = True
            self._config.loop.call_soon(self._grant)

    def _grant(self) -> None:
        self._is_granting = False
        if len(self.recent) < MAX_RECENT and self.queue.grant():
            self.grant()

    def start_timer(self) -> None:
        """Listen for disconnects soon, and again while requests are recent."""
        self.timed_in = self._config.loop
        self.late_from_ns = perf_counter_ns() + _LATE_AFTER_NS
        self._config.loop.call_later(_LISTEN_EVERY_S, self._listen)

    def _listen(self) -> None:
        """Listen for the disconnect of clients whose requests begin to last, or wait."""
        self.timed_in = None
        limit = perf_counter_ns() - _LISTEN_AFTER_NS
        for exchange in list(takewhile(lambda exchange: exchange.received_ns <= limit, self.recent)):
            if isinstance(exchange, WebSocketExchange) or exchange.listen():
                del self.recent[exchange]
                self.lasting[exchange] = None
        for exchange in self.lasting:
            if (
                exchange.turn_of is not None
                and exchange.is_event_stream
                and isinstance(exchange, HttpExchange)
            ):
                self.queue.release(exchange)
        for waiting in self.queue.exchanges:
            waiting.listen()
        if self.queue.exchanges:
            # Not before the disconnects that have happened are known.
            self._config.loop.call_later(_SETTLE_S, self.grant)
        if self.recent or self.queue.exchanges:
            self.start_timer()
