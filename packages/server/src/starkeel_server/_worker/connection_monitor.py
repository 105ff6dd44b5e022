"""Keeps the number of connections, and what their clients leave unread or unfinished, within bounds."""

import asyncio
import time
from collections import Counter as Counts
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

import structlog
from litestar import Litestar
from starkeel_asgi import Pipeline, WebSocketExchange, pipeline_of

from .._config.settings import ServerSettings
from .connections import Connection, Connections, by_precedence
from .granian_engine import Engine, connection_limit
from .late_heads import LateHeads, peer_of

log = structlog.get_logger(__name__)

_INTERVAL_S: Final = 0.1
_LATE_S: Final = 0.25
"""Delay from which the event loop has requests that have not begun, whose connections seem idle."""
_DESCRIPTORS_A_TURN: Final = 256
_WEBSOCKETS_A_TURN: Final = 128
_QUIET_S: Final = 10.0
"""Seconds without a closed connection from which a limit is no longer exceeded."""
_FRAME_BYTES: Final = 64
"""Bytes that a WebSocket message may need beside its content: frames, and records of TLS."""
_CONTROL_BYTES_PER_S: Final = 64
"""Bytes per second for pings and pongs of a client, each at most 131 bytes (RFC 6455, 5.5)."""
_READ_AHEAD_BYTES: Final = 256 * 1024


class ConnectionLimits(NamedTuple):
    """Bounds for the connections of one worker; the names are the reasons in logs and metrics.

    Args:
        address: Maximum number of connections of one address, unless it is a trusted proxy.
        total: Number from which idle connections are closed, so that new ones are always accepted.
        websocket: Bytes that a WebSocket's client may send without completing a message.
        head: Seconds that a client may take for a request head.
    """

    address: int
    total: int
    websocket: int
    head: float


class ConnectionMonitor:
    """Closes connections beyond the limits, a few descriptors at a time; nothing is done for a request.

    Args:
        port: Port of the service.
        pipeline: Its open exchanges; their connections are not idle.
    """

    def __init__(self, port: int, pipeline: Pipeline, limits: ConnectionLimits) -> None:
        from prometheus_client import Counter, Gauge

        self._pipeline = pipeline
        self._limits = limits
        self._connections = Connections(port)
        self._late_heads = LateHeads(self._busy, timeout_s=limits.head)
        pipeline.add(self._late_heads)
        self._by_peer: dict[tuple[str, int], Connection] = {}
        self._unfinished: dict[WebSocketExchange, _Unfinished] = {}
        self._websockets: list[WebSocketExchange] = []
        """Those to be checked before all are checked again."""
        self._open = Gauge("starkeel_open_connections", "Open connections.", multiprocess_mode="livesum")
        self._closed = Counter(
            "starkeel_connections_closed", "Connections closed as a limit was exceeded.", ["reason"]
        )
        self._ended: set[int] = set()
        """Inodes of connections that were shut down and that the server has not closed yet."""
        self._exceeded_at: dict[str, float] = {}
        self._totals: Counts[str] = Counts()
        for reason in ConnectionLimits._fields:
            self._closed.labels(reason)

    async def run(self) -> None:
        """Watch the connections until cancelled."""
        if not Connections.can_be_read():
            log.warning("connections not limited", reason="the operating system has no /proc/self/fd")
            return
        while True:
            began = time.monotonic()
            await asyncio.sleep(_INTERVAL_S)
            try:
                self._check(is_late=time.monotonic() - began > _INTERVAL_S + _LATE_S)
            except Exception:
                log.exception("connections no longer limited")
                return

    def _check(self, *, is_late: bool) -> None:
        self._check_websockets()
        if self._connections.scan(_DESCRIPTORS_A_TURN):
            found = self._connections.open()
            self._ended.intersection_update(connection.inode for connection in found)
            found = [connection for connection in found if connection.inode not in self._ended]
            self._by_peer = {connection.peer: connection for connection in found if connection.peer}
            self._open.set(len(found))
            self._late_heads.scanned(found)
            if not is_late:
                self._end_idle(found)
        if is_late:
            self._late_heads.restart()
        for connection in self._late_heads.find():
            self._end(connection, "head", count=len(self._by_peer))
        self._log_ends()

    def _end_idle(self, found: list[Connection]) -> None:
        counts = Counts(connection.client for connection in found)
        over = {
            client: excess for client, count in counts.items() if (excess := count - self._limits.address) > 0
        }
        surplus = len(found) - self._limits.total
        if not over and surplus <= 0:
            return
        is_trusted = self._pipeline.config.is_trusted_peer
        candidates = by_precedence(self._idle(found), is_trusted)
        for connection in candidates:
            if over.get(connection.client, 0) > 0 and not is_trusted(connection.address):
                reason = "address"
                over[connection.client] -= 1
            elif surplus > 0:
                reason = "total"
            else:
                continue
            surplus -= 1
            self._end(connection, reason, count=len(found))

    def _idle(self, found: Iterable[Connection]) -> Iterator[tuple[float, Connection]]:
        busy = self._busy()
        for connection in found:
            if connection.peer not in busy:
                state = connection.state()
                if state is not None and state.is_idle:
                    yield state.sent_s, connection

    def _busy(self) -> set[tuple[str, int]]:
        return {peer_of(exchange) for exchange in self._pipeline.open_exchanges()}

    def _check_websockets(self) -> None:
        if not self._websockets:
            found = (each for each in self._pipeline.open_exchanges() if isinstance(each, WebSocketExchange))
            self._websockets = list(found)
            known = self._unfinished
            self._unfinished = {each: known[each] for each in self._websockets if each in known}
        turn = self._websockets[:_WEBSOCKETS_A_TURN]
        del self._websockets[:_WEBSOCKETS_A_TURN]
        for exchange in turn:
            if exchange.ended_ns or not exchange.is_accepted:
                continue
            connection = self._by_peer.get(peer_of(exchange))
            state = None if connection is None else connection.state()
            if connection is None or state is None:
                continue
            unfinished = self._unfinished.setdefault(exchange, _Unfinished())
            if unfinished.update(exchange, state.taken_bytes) > self._limits.websocket:
                self._end(connection, "websocket", count=len(self._by_peer))

    def _end(self, connection: Connection, reason: str, *, count: int) -> None:
        if connection.inode in self._ended or not connection.end():
            return
        self._ended.add(connection.inode)
        self._closed.labels(reason).inc()
        self._totals[reason] += 1
        if reason not in self._exceeded_at:
            limit = self._limits._asdict()[reason]
            log.warning(
                "connection limit exceeded", reason=reason, limit=limit, open=count, client=connection.client
            )
        self._exceeded_at[reason] = time.monotonic()

    def _log_ends(self) -> None:
        for reason, at in list(self._exceeded_at.items()):
            if time.monotonic() - at > _QUIET_S:
                del self._exceeded_at[reason]
                log.info(
                    "connection limit no longer exceeded", reason=reason, closed=self._totals.pop(reason)
                )


def connection_monitor(app: Litestar, engine: Engine, settings: ServerSettings) -> ConnectionMonitor:
    """Return the monitor of a worker's connections."""
    accepted = connection_limit(settings.max_connections)
    limits = ConnectionLimits(
        address=min(settings.max_connections_per_address, accepted // 2),
        total=accepted - accepted // 8,
        websocket=settings.max_websocket_message_bytes + _READ_AHEAD_BYTES,
        head=settings.head_read_timeout_s,
    )
    pipeline = pipeline_of(app)
    pipeline.config.max_streams = accepted // 2
    return ConnectionMonitor(engine.port, pipeline, limits)


class _Unfinished:
    """Bytes that a WebSocket's client has sent without completing a message."""

    def __init__(self) -> None:
        self._base: float | None = None
        self._at = time.monotonic()

    def update(self, exchange: WebSocketExchange, taken_bytes: int) -> float:
        """Return the number of bytes, given those that the server has read of the connection."""
        now = time.monotonic()
        # 1/128 for the records of TLS.
        delivered = exchange.received_messages * _FRAME_BYTES + exchange.received_bytes * 129 // 128
        ahead = taken_bytes - delivered
        if self._base is None:
            self._base = min(float(ahead), _READ_AHEAD_BYTES)
        self._base = min(ahead, self._base + (now - self._at) * _CONTROL_BYTES_PER_S)
        self._at = now
        return ahead - self._base
