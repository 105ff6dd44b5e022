"""The open exchanges of a pipeline: those that wait for their turn, and those whose client may disconnect."""

import asyncio
from itertools import takewhile
from math import inf
from time import perf_counter_ns
from typing import Final

from ._exchange.config import ExchangeConfig
from ._exchange.http import HttpExchange
from ._exchange.websocket import WebSocketExchange
from ._fair_queue import MAX_PER_CLIENT, Client, Reason, Shares, Turn
from ._load import Group, Load, LoadPolicy, is_late, rank_of
from ._loop_time import LoopTime

MAX_RECENT: Final = 4
"""Number of recent requests from which no other begins while the event loop is late."""
_LATE_NS: Final = 4_000_000
"""Nanoseconds of one iteration of the event loop from which it is late: the requests that execute keep it
busy, so that more at a time would only delay one another. While they wait for something else, its iterations
are short and every request begins at once.
"""
_LATE_AMONG_MANY_NS: Final = 1_000_000
"""The same while more than `MAX_RECENT` requests execute, each of which goes on in every few iterations."""
_BUSY: Final = 0.5
"""Share of the time of the event loop's thread from which more requests at a time only delay one another."""
_SATURATED: Final = 0.7
"""The same from which few requests at a time keep it busy."""
_MAX_OF_CROWD: Final = 1
"""The number of recent requests instead of `MAX_RECENT` while it is saturated by clients with very many: each
of their requests that executes delays one that goes ahead of them."""
_CROWD_EVERY_NS: Final = 20_000_000
"""Nanoseconds after which one of them begins although others go ahead all the time."""
_LISTEN_AFTER_NS: Final = 50_000_000
"""Age in nanoseconds from which listening for a client's disconnect is worth its cost."""
_LISTEN_EVERY_S: Final = 0.025
_SAMPLE_EVERY: Final = 16
"""Number of iterations of the event loop with requests of which one request is measured."""

AnyExchange = HttpExchange | WebSocketExchange


def client_of(exchange: HttpExchange) -> Client:
    """Return what distinguishes the clients that take turns: address and `Authorization` header."""
    return exchange.client, exchange.headers.get(b"authorization")


class OpenExchanges:
    """The open exchanges of a pipeline.

    A request whose client disconnects while it waits never begins.

    Attributes:
        recent: Those that execute, in their order.
        lasting: Those that last: WebSockets, event streams, slow requests.
        waiting: Those that have not begun.
        ahead: Those of `recent` that did not wait behind a client with very many.
        crowd: Number of open exchanges above which each request needs a turn.
        measured_in: The event loop whose current iteration is measured, if any.
        timed_in: The event loop that runs the timer, if any.
        is_late: Whether requests wait for their turn.
    """

    def __init__(self, config: ExchangeConfig) -> None:
        self._config = config
        self.recent: dict[AnyExchange, None] = {}
        self.lasting: dict[AnyExchange, None] = {}
        self.waiting: dict[HttpExchange, Turn] = {}
        self.ahead: set[AnyExchange] = set()
        self.crowd = MAX_PER_CLIENT
        self.measured_in: asyncio.AbstractEventLoop | None = None
        self.timed_in: asyncio.AbstractEventLoop | None = None
        self.is_late = False
        self._load = Load()
        self._shares = Shares()
        self._loop_time = LoopTime()
        self._began_ns = 0
        self._granted_ns = 0
        self._countdown = 1

    def measure(self, began_ns: int) -> None:
        """Measure the iteration of the event loop in which a request arrived, in `perf_counter_ns()`."""
        self.measured_in, self._began_ns = self._config.loop, began_ns
        # Runs in the next iteration, before the requests that arrive in it.
        self._config.loop.call_soon(self._begin_iteration)
        self._countdown -= 1
        if not self._countdown:
            self._countdown = _SAMPLE_EVERY
            self._sample(began_ns)
        if self.timed_in is not self._config.loop:
            self._start_timer()

    async def wait_for_turn(self, exchange: AnyExchange) -> None:
        """Wait for the turn of a request, except for a WebSocket and a route with `AT_ONCE`.

        One that is refused is responded to in place of the application.
        """
        if not isinstance(exchange, HttpExchange) or exchange.route is None:
            return
        load, policy = self._load.of(exchange.route.handler), self._config.load_policy
        if load.never_waits:
            return
        group, now = load.group, exchange.received_ns
        turn = Turn(client_of(exchange), group, rank_of(load, exchange.method, policy), now)
        is_saturated = group.is_full or (self.is_late and not self._is_ahead(turn, group))
        if not self._shares.allow(turn.client, now) or is_saturated:
            if (
                is_saturated
                and policy is not None
                and group.queue.count >= group.most_waiting(policy.max_wait_s)
            ):
                refused = group.queue.least(turn)
                if refused is turn:
                    self._refuse(exchange, group, "full")
                    return
                group.queue.remove(refused)
                refused.end_wait("full")
            await self._wait(exchange, turn, group)
            return
        exchange.turn_of = turn
        if self._is_ahead(turn, group):
            self.ahead.add(exchange)
        self._shares.begin(turn.client)
        group.begin(turn, now)

    def _is_ahead(self, turn: Turn, group: Group) -> bool:
        """Return whether a client that has no other request need not wait for clients with very many."""
        return (
            len(self.recent) <= 2 * MAX_RECENT
            and group.queue.is_crowded_by_few
            and not self._shares.has(turn.client)
            and not group.queue.has(turn.client)
        )

    def release(self, exchange: AnyExchange) -> None:
        """Begin another request in place of one that has ended."""
        turn, exchange.turn_of = exchange.turn_of, None
        self.ahead.discard(exchange)
        if turn is None:
            return
        if turn.group is not None:
            self._shares.release(turn.client)
            turn.group.end()
        if exchange.is_complete and not exchange.is_event_stream:
            self._note(exchange, turn)
        if self.waiting and self.measured_in is None:
            self.measure(perf_counter_ns())

    async def _wait(self, exchange: HttpExchange, turn: Turn, group: Group) -> None:
        del self.recent[exchange]
        turn.future = asyncio.get_running_loop().create_future()
        group.queue.add(turn)
        self.waiting[exchange] = turn
        exchange.is_queued = True
        try:
            refused = await turn.future
        finally:
            exchange.is_queued = False
            del self.waiting[exchange]
            group.queue.remove(turn)
            if turn.began_ns > turn.since_ns:
                exchange.turn_of = turn
        self.recent[exchange] = None
        if refused is not None:
            self._refuse(exchange, group, refused)
        elif self._config.load_policy is not None:
            self._config.load_policy.begun(group.name, (turn.began_ns - turn.since_ns) / 1e9)

    def _refuse(self, exchange: HttpExchange, group: Group, reason: Reason) -> None:
        async def respond(_: object) -> bool:
            await exchange.respond(*self._config.load_policy.refused(exchange, group.name, reason))
            return False

        exchange.intercept = respond

    def _begin_iteration(self) -> None:
        self.measured_in = None
        now = perf_counter_ns()
        late_ns = _LATE_NS if len(self.recent) <= MAX_RECENT else _LATE_AMONG_MANY_NS
        self.is_late = now - self._began_ns > late_ns
        if self.waiting:
            busy_share = self._loop_time.share(now) if self._shares.are_contended else 0.0
            is_busy = busy_share > _BUSY
            is_shared_with_crowd = busy_share > _SATURATED and any(
                group.queue.is_crowded_by_few for group in self._load.groups.values()
            )
            room = (_MAX_OF_CROWD if is_shared_with_crowd else MAX_RECENT) - len(self.recent)
            if self.ahead:
                # None of a client with very many begins while another's request goes ahead.
                is_held_back = now - self._granted_ns < _CROWD_EVERY_NS
                room = min(room, len(self.ahead) + int(not is_held_back) - len(self.recent))
            self.is_late = self.is_late or (is_busy and room <= 0)
            # One at a time while it is late: news of disconnects takes several iterations.
            most = int(room > 0) if self.is_late else max(room, 0) if is_busy or self.ahead else MAX_RECENT
            granted = 0
            for group in self._load.groups.values():
                granted += group.grant(most - granted, self._shares, now)
            # Otherwise those that are left wait for requests of their own clients or groups, whose end
            # continues this.
            if granted:
                self._granted_ns = now
            if granted or self.is_late:
                self.is_late = self.is_late or granted == most
                self.measure(now)

    def _sample(self, received_ns: int) -> None:
        """Measure the time of the request that has just arrived, unless many are open."""
        exchange = next(reversed(self.recent), None)
        if isinstance(exchange, HttpExchange) and exchange.received_ns == received_ns:
            exchange.turn_of = Turn((None, None), None, 0, received_ns)

    def _note(self, exchange: AnyExchange, turn: Turn) -> None:
        """Learn the usual time of a route, or whether its requests take longer."""
        if exchange.route is None or not 200 <= exchange.status < 400:
            return
        times, group = self._load.of(exchange.route.handler).times, turn.group
        if group is None or not times.is_learned:
            times.add(exchange.ended_ns - turn.began_ns)
        elif not self.is_late and self._config.load_policy is not None:
            # While the event loop is late, the number of recent requests is the limit.
            group.limit.note(times, turn.began_ns, exchange.ended_ns)
            if group.limit.limit < inf:
                self.crowd = -1

    def _start_timer(self) -> None:
        self.timed_in = self._config.loop
        self._config.loop.call_later(_LISTEN_EVERY_S, self._listen)

    def _listen(self) -> None:
        """Listen for the disconnect of clients whose requests begin to last, or wait."""
        now = perf_counter_ns()
        limit = now - _LISTEN_AFTER_NS
        for exchange in list(takewhile(lambda exchange: exchange.received_ns <= limit, self.recent)):
            if isinstance(exchange, WebSocketExchange) or exchange.listen():
                del self.recent[exchange]
                self.ahead.discard(exchange)
                self.lasting[exchange] = None
        self._shares.forget_absent(now)
        for exchange in self.lasting if self.waiting else ():
            if exchange.is_event_stream:
                self.release(exchange)
        for waiting, turn in self.waiting.items():
            if not turn.is_watched:
                turn.is_watched = waiting.listen()
        if self._config.load_policy is not None:
            self._control_load(self._config.load_policy, now)
        if self.waiting and self.measured_in is None:
            self.measure(now)
        if self.recent or self.waiting or self._load.is_active:
            self._start_timer()
        else:
            self.timed_in = None

    def _control_load(self, policy: LoadPolicy, now: int) -> None:
        """Refuse requests that have waited for too long, and measure the groups."""
        for turn in list(takewhile(lambda turn: is_late(turn, now, policy), self.waiting.values())):
            if self.is_late or turn.group.is_at_limit:
                turn.group.queue.remove(turn)
                turn.end_wait("late")
        most = MAX_RECENT if self.is_late else inf
        for group in self._load.groups.values():
            group.measure(now, policy, most)
        self.crowd = -1 if self._load.is_limited else MAX_PER_CLIENT
