"""Connections whose client takes too long for a request head.

Granian has one timer for request heads and for idle connections, so its value is that of idle connections,
and the state of the connection in the kernel distinguishes both.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from starkeel_asgi import Exchange, LayerOrder

from .connections import Connection

_Peer = tuple[str, int]
_CHECKED_AT_ONCE: Final = 256


class LateHeads:
    """A layer that notes which connections have had a request, and finds those whose next one is late.

    The head of the first request must be complete `timeout_s` after the connection was accepted, any later
    one `timeout_s` after its first byte; in between the connection is idle. Bytes that arrive in the same
    tick of the kernel's clock (1 to 10 ms) as the response before them are no head until more follow; without
    more, Granian's timer closes the connection.

    Args:
        busy: Returns the peers of open exchanges.
    """

    order = LayerOrder.DRAIN - 1

    def __init__(self, busy: Callable[[], set[_Peer]], *, timeout_s: float) -> None:
        self._busy = busy
        self._timeout_s = timeout_s
        self._recent: set[tuple[str, int] | None] = set()
        """Peers that have sent a request since the last scan, as Granian reports them."""
        self._served: set[_Peer] = set()
        """Peers that had sent a request when the last scan was complete."""
        self._since: dict[int, float] = {}
        """Times since when heads are incomplete, by the inode of the connection."""
        self._left: list[Connection] = []

    def begin(self, exchange: Exchange) -> None:
        """Note that a request has arrived on a connection."""
        self._recent.add(exchange.peer)

    def end(self, _exchange: Exchange, _error: BaseException | None) -> None:
        """Do nothing; a response is recognized by the state of the connection."""

    def restart(self) -> None:
        """Give all clients the whole time again, as the event loop has delayed requests."""
        self._since.clear()

    def scanned(self, found: Iterable[Connection]) -> None:
        """Check these connections from now on, which a complete scan has found."""
        self._left = list(found)
        # A request may have arrived on a connection that was accepted during the scan.
        recent = {(peer[0], int(peer[1])) for peer in self._recent if peer is not None}
        self._served = {each.peer for each in self._left if each.peer in self._served} | recent
        self._recent.clear()
        inodes = {each.inode for each in self._left}
        self._since = {inode: since for inode, since in self._since.items() if inode in inodes}

    def find(self) -> Iterator[Connection]:
        """Check the next connections and yield those whose head is late."""
        turn = self._left[:_CHECKED_AT_ONCE]
        del self._left[:_CHECKED_AT_ONCE]
        now = time.monotonic()
        late = [connection for connection in turn if self._is_late(connection, now)]
        busy = self._busy() if late else set()
        for connection in late:
            if connection.peer in busy:
                self._since[connection.inode] = now
            else:
                yield connection

    def _is_late(self, connection: Connection, now: float) -> bool:
        """Return whether a head, or a request that is in progress, has taken too long."""
        is_served = connection.peer in self._served
        state = connection.state()
        if state is None or not state.is_flushed or (is_served and state.received_s >= state.sent_s):
            self._since.pop(connection.inode, None)
            return False
        since = self._since.setdefault(connection.inode, now)
        if is_served and now - state.sent_s > since:
            # A response since then: this is the next head.
            self._since[connection.inode] = now
            return False
        return now - since > self._timeout_s


def peer_of(exchange: Exchange) -> _Peer:
    """Return the other end of an exchange's connection; Granian passes the port as text."""
    address, port = exchange.peer or ("", 0)
    return address, int(port)
