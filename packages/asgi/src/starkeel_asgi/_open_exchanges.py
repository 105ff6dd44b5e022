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
"""Number of recent requests from which no other begins while the event loop is late."""
MAX_PER_CLIENT: Final = 32
"""Number of open exchanges from which clients are distinguished, and number of requests of one client that
execute while there are other clients."""
AT_ONCE: Final = "starkeel_asgi.at_once"
"""Key in a handler's `opt`; with `True` its requests never wait for their turn, as those of probes."""

_LATE_NS: Final = 4_000_000
"""Nanoseconds of one iteration of the event loop from which it is late: the requests that execute keep it
busy, so that more at a time would only delay one another. While they wait for something else, its iterations
are short and every request begins at once.
"""
_LATE_AMONG_MANY_NS: Final = 1_000_000
"""The same while more than `MAX_RECENT` requests execute, each of which goes on in every few iterations."""
_OVERDUE_NS: Final = 2_000_000_000
"""Nanoseconds after which a request no longer waits for others of its client."""
_ABSENT_NS: Final = 1_000_000_000
"""Nanoseconds since its last request after which a client needs no share."""
_LISTEN_AFTER_NS: Final = 50_000_000
"""Age in nanoseconds from which listening for a client's disconnect is worth its cost."""
_LISTEN_EVERY_S: Final = 0.025

AnyExchange = HttpExchange | WebSocketExchange
_Client = tuple[str | None, bytes | None]


def client_of(exchange: HttpExchange) -> tuple[str | None, bytes | None]:
    """Return what distinguishes the clients that take turns: address and `Authorization` header."""
    return exchange.client, exchange.headers.get(b"authorization")


class FairQueue:
    """Requests that have not begun, in rotation among clients, and of each client in their order.

    A client is an address with an `Authorization` header: a user with hundreds of connections delays others
    by one request each. A request whose client disconnects while it waits never begins.
    """

    def __init__(self) -> None:
        self.exchanges: dict[HttpExchange, None] = {}
        """Those that wait, in their order."""
        self._turns: dict[_Client, deque[tuple[asyncio.Future[None], int]]] = {}
        self._executing: Counter[_Client] = Counter()
        self._seen_ns: dict[_Client, int] = {}

    def has_share(self, client: _Client, received_ns: int) -> bool:
        """Return whether one more request of a client may execute, and record the client as present."""
        self._seen_ns[client] = received_ns
        return self._executing[client] < MAX_PER_CLIENT or len(self._seen_ns) == 1

    async def wait(self, exchange: HttpExchange, client: _Client) -> None:
        """Wait for the turn of a request."""
        turn = asyncio.get_running_loop().create_future()
        self._turns.setdefault(client, deque()).append((turn, exchange.received_ns))
        self.exchanges[exchange] = None
        exchange.is_queued = True
        try:
            await turn
        finally:
            # A cancelled turn stays in its queue until it is reached.
            exchange.is_queued = False
            self.exchanges.pop(exchange, None)

    def begin(self, exchange: HttpExchange, client: _Client) -> None:
        """Count a request among those of its client that execute."""
        exchange.turn_of = client
        self._executing[client] += 1

    def release(self, exchange: AnyExchange) -> None:
        """Count a request no longer among those of its client."""
        client, exchange.turn_of = exchange.turn_of, None
        if client is not None:
            self._executing[client] -= 1
            if not self._executing[client]:
                del self._executing[client]

    def grant(self, count: int) -> int:
        """Begin the next requests, at most `count`; return how many."""
        granted, is_over = 0, False
        now = perf_counter_ns()
        while granted < count and not is_over:
            is_over = True
            for client in list(self._turns)[: count - granted]:
                if self._grant(client, now):
                    granted, is_over = granted + 1, False
        return granted

    def _grant(self, client: _Client, now: int) -> bool:
        turns = self._turns.pop(client)
        while turns and turns[0][0].done():
            turns.popleft()
        if not turns:
            return False
        may_begin = self.has_share(client, now) or turns[0][1] <= now - _OVERDUE_NS
        if may_begin:
            turns.popleft()[0].set_result(None)
        if turns:
            # Behind the other clients.
            self._turns[client] = turns
        return may_begin

    def forget_absent(self) -> None:
        """Give no share to clients that have sent no request for a while."""
        limit = perf_counter_ns() - _ABSENT_NS
        self._seen_ns = {client: at for client, at in self._seen_ns.items() if at > limit}


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
            self._start_timer()

    async def wait_for_turn(self, exchange: AnyExchange) -> None:
        """Wait for the turn of a request, except for a WebSocket and a route with `AT_ONCE`."""
        route = exchange.route
        if not isinstance(exchange, HttpExchange) or route is None or route.handler.opt.get(AT_ONCE):
            return
        client = client_of(exchange)
        if self.is_late or not self.queue.has_share(client, exchange.received_ns):
            del self.recent[exchange]
            await self.queue.wait(exchange, client)
            self.recent[exchange] = None
        self.queue.begin(exchange, client)

    def release(self, exchange: AnyExchange) -> None:
        """Begin another request in place of one that has ended."""
        self.queue.release(exchange)
        if self.queue.exchanges and self.measured_in is None:
            self.measure(perf_counter_ns())

    def _begin_iteration(self) -> None:
        self.measured_in = None
        now = perf_counter_ns()
        late_ns = _LATE_NS if len(self.recent) <= MAX_RECENT else _LATE_AMONG_MANY_NS
        self.is_late = now - self._began_ns > late_ns
        if self.queue.exchanges:
            # One at a time while it is late: news of disconnects takes several iterations.
            most = int(len(self.recent) < MAX_RECENT) if self.is_late else MAX_RECENT
            granted = self.queue.grant(most)
            # Otherwise those that are left wait for requests of their own clients, whose end continues this.
            if granted or self.is_late:
                self.is_late = self.is_late or granted == most
                self.measure(now)

    def _start_timer(self) -> None:
        self.timed_in = self._config.loop
        self._config.loop.call_later(_LISTEN_EVERY_S, self._listen)

    def _listen(self) -> None:
        """Listen for the disconnect of clients whose requests begin to last, or wait."""
        self.timed_in = None
        limit = perf_counter_ns() - _LISTEN_AFTER_NS
        for exchange in list(takewhile(lambda exchange: exchange.received_ns <= limit, self.recent)):
            if isinstance(exchange, WebSocketExchange) or exchange.listen():
                del self.recent[exchange]
                self.lasting[exchange] = None
        self.queue.forget_absent()
        for exchange in self.lasting if self.queue.exchanges else ():
            if exchange.is_event_stream:
                self.queue.release(exchange)
        for waiting in self.queue.exchanges:
            waiting.listen()
        if self.queue.exchanges and self.measured_in is None:
            self.measure(perf_counter_ns())
        if self.recent or self.queue.exchanges:
            self._start_timer()
