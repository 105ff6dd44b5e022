"""Requests that have not begun: in rotation among clients, and first refused where their priority is low."""

import asyncio
from collections import Counter, deque
from itertools import chain, islice
from typing import Any, Final, Literal

MAX_PER_CLIENT: Final = 32
"""Number of open exchanges from which clients are distinguished, and number of requests of one client that
execute while there are other clients."""
_OVERDUE_NS: Final = 2_000_000_000
"""Nanoseconds after which a request no longer waits for others of its client."""
_ABSENT_NS: Final = 1_000_000_000
"""Nanoseconds since its last request after which a client needs no share."""
_EXAMINED: Final = 8
"""Number of requests of low priority that are examined for one to refuse."""

Client = tuple[str | None, bytes | None]
Reason = Literal["full", "late"]
"""Why a request is refused: as many wait as can begin in time, or it has waited for too long."""


class Turn:
    """The turn of a request.

    Attributes:
        client: The client in whose share it counts.
        group: The group in which it counts, `None` for a sample.
        rank: Its priority; requests with the lowest are refused first.
        future: Ends its wait, with the reason if it is refused.
        is_watched: Whether the disconnect of its client is noticed.
        began_ns: When it began; `since_ns`: when it arrived.
    """

    __slots__ = ("began_ns", "client", "future", "group", "is_waiting", "is_watched", "rank", "since_ns")

    def __init__(self, client: Client, group: Any, rank: int, since_ns: int) -> None:
        self.client, self.group, self.rank = client, group, rank
        self.since_ns = self.began_ns = since_ns
        self.future: asyncio.Future[Reason | None] | None = None
        self.is_watched = self.is_waiting = False

    def end_wait(self, refused: Reason | None) -> None:
        """Begin the request, or refuse it for a reason; no effect if its client has left."""
        if self.future is not None and not self.future.done():
            self.future.set_result(refused)


class Shares:
    """Number of requests of each client that execute."""

    def __init__(self) -> None:
        self._executing: Counter[Client] = Counter()
        self._seen_ns: dict[Client, int] = {}

    def allow(self, client: Client, now: int) -> bool:
        """Return whether one more request of a client may execute, and record the client as present."""
        self._seen_ns[client] = now
        return self._executing[client] < MAX_PER_CLIENT or not self.are_contended

    @property
    def are_contended(self) -> bool:
        """Whether there is more than one client."""
        return len(self._seen_ns) > 1

    def has(self, client: Client) -> bool:
        """Return whether a request of a client executes."""
        return client in self._executing

    def begin(self, client: Client) -> None:
        """Count a request."""
        self._executing[client] += 1

    def release(self, client: Client) -> None:
        """Count a request no longer."""
        self._executing[client] -= 1
        if not self._executing[client]:
            del self._executing[client]

    def forget_absent(self, now: int) -> None:
        """Give no share to clients that have sent no request for a while."""
        limit = now - _ABSENT_NS
        self._seen_ns = {client: at for client, at in self._seen_ns.items() if at > limit}


class FairQueue:
    """Requests that have not begun, in rotation among clients, and of each client in their order.

    A client is an address with an `Authorization` header: a user with hundreds of connections delays others
    by one request each.
    """

    def __init__(self) -> None:
        self.count = 0
        self._turns: dict[Client, deque[Turn]] = {}
        self._counts: Counter[Client] = Counter()
        self._ranks: dict[int, dict[Turn, None]] = {}

    def add(self, turn: Turn) -> None:
        """Add a request behind the others of its client."""
        turns = self._turns.setdefault(turn.client, deque())
        while turns and not turns[-1].is_waiting:
            turns.pop()
        turns.append(turn)
        turn.is_waiting = True
        self.count += 1
        self._counts[turn.client] += 1
        self._ranks.setdefault(turn.rank, {})[turn] = None

    def remove(self, turn: Turn) -> None:
        """Remove a request; no effect if it does not wait. Its place is dropped when it is reached."""
        if not turn.is_waiting:
            return
        turn.is_waiting = False
        self.count -= 1
        self._counts[turn.client] -= 1
        if not self._counts[turn.client]:
            del self._counts[turn.client], self._turns[turn.client]
        del self._ranks[turn.rank][turn]

    @property
    def is_crowded_by_few(self) -> bool:
        """Whether clients wait with more requests each than one client may execute."""
        return self.count > MAX_PER_CLIENT * len(self._counts)

    def has(self, client: Client) -> bool:
        """Return whether a request of a client waits."""
        return client in self._counts

    def least(self, turn: Turn) -> Turn:
        """Return the request to refuse if one more does not fit: this one, or one that waits.

        One of lower priority, of a client with at least its share of the queue; otherwise one of the client
        with the most.
        """
        lower = (reversed(self._ranks[rank]) for rank in sorted(self._ranks) if rank < turn.rank)
        for waiting in islice(chain.from_iterable(lower), _EXAMINED):
            if self._has_its_part(waiting.client, 0):
                return waiting
        if self._has_its_part(turn.client, 1):
            return turn
        busiest = max(self._counts, key=self._counts.__getitem__)
        return min(reversed([other for other in self._turns[busiest] if other.is_waiting]), key=_rank)

    def grant(self, count: int, shares: Shares, now: int) -> list[Turn]:
        """Remove and return the next requests, at most `count`."""
        granted: list[Turn] = []
        is_over = False
        while len(granted) < count and not is_over:
            is_over = True
            for client in list(self._turns):
                if len(granted) == count:
                    break
                turn = self._next(client, shares, now)
                if turn is not None:
                    granted.append(turn)
                    is_over = False
        return granted

    def _next(self, client: Client, shares: Shares, now: int) -> Turn | None:
        turns = self._turns.pop(client)
        # Behind the other clients.
        self._turns[client] = turns
        while not turns[0].is_waiting:
            turns.popleft()
        turn = turns[0]
        if not shares.allow(client, now) and turn.since_ns > now - _OVERDUE_NS:
            return None
        turns.popleft()
        self.remove(turn)
        shares.begin(client)
        return turn

    def _has_its_part(self, client: Client, more: int) -> bool:
        return (self._counts[client] + more) * len(self._counts) >= self.count


def _rank(turn: Turn) -> int:
    return turn.rank
