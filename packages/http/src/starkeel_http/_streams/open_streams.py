"""The open event streams and WebSockets of a worker: their heartbeats, and the reasons for which they end.

One task serves all of them, a part at a time: a timer or a task for each would cost more.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import anyio
import structlog
from litestar import Litestar
from litestar.types import Scope
from prometheus_client import Counter
from starkeel_asgi import Exchange, HttpExchange, StreamEnd, WebSocketExchange, current

log = structlog.get_logger(__name__)

SLOW_CONSUMER: Final = StreamEnd(1013, "slow consumer")
SILENT_CLIENT: Final = StreamEnd(4408, "silent client")
TOKEN_EXPIRED: Final = StreamEnd(4401, "token expired")
SESSION_ENDED: Final = StreamEnd(4401, "session ended")

STREAMS_KEY: Final = "starkeel_http.streams"
"""Key of `OpenStreams` in the state of the application."""

_CHECK_EVERY_S: Final = 1.0
"""Seconds between two checks of a stream."""
_PARTS: Final = 20
"""Number of parts in which the streams are checked: none of them delays requests by much."""
_RETURN_S: Final = 2.0
"""Seconds that a handler has to return once its stream has ended."""
_CATCH_UP_S: Final = 15.0
"""Seconds that a slow client has to read up to the reason."""
_ABORT_S: Final = 0.2

_REASONS: Final = ("client", "handler", "service restart", *(
    end.reason for end in (SLOW_CONSUMER, SILENT_CLIENT, TOKEN_EXPIRED, SESSION_ENDED)
))  # fmt: skip
ENDED: Final = Counter("stream_ends", "Event streams and WebSockets that have ended.", ["kind", "reason"])
for _kind in ("event_stream", "websocket"):
    for _reason in _REASONS:
        ENDED.labels(_kind, _reason.replace(" ", "_"))


class OpenStream:
    """An open event stream or WebSocket.

    Attributes:
        sending_since: When the send began that is not over, in `time.monotonic()` seconds; 0 if none.
        sent_at: When something was last sent, `received_at`: when its client last sent a message.
        silence_s: Seconds without a message after which the client is regarded as gone; `None` for no limit.
    """

    __slots__ = (
        *("_ended_at", "_is_waiting", "_is_woken", "_task", "_cancelling", "exchange", "received_at"),
        *("is_over", "sending_since", "sent_at", "silence_s"),
    )

    def __init__(self, exchange: HttpExchange | WebSocketExchange) -> None:
        self.exchange = exchange
        self.sending_since = self._ended_at = 0.0
        self.sent_at = self.received_at = time.monotonic()
        self.silence_s: float | None = None
        self.is_over = self._is_waiting = self._is_woken = False
        self._task: Any = None
        self._cancelling = 0

    def attach(self) -> None:
        """Have the current task, which calls `next` and `send`, notice the end and the heartbeats."""
        self._task = asyncio.current_task()
        if isinstance(self.exchange, HttpExchange):
            self.exchange.incoming.listen_for_end(self.stop)
        else:
            self.exchange.listen_for_end(self.stop)

    def stop(self) -> None:
        """End the wait for the next event: the stream is over."""
        self.is_over = True
        self._wake()

    def end(self, why: StreamEnd) -> None:
        """End the stream, for a reason that its client receives; no effect if it is ending."""
        if not self.exchange.is_ending:
            self.exchange.end(why)
            self._ended_at = time.monotonic()
            if why is SLOW_CONSUMER:
                log.info("stream ended", reason=why.reason)

    def end_unless_permitted(self) -> bool:
        """End the stream if the user's token is no longer valid; return whether it goes on."""
        is_valid: Callable[[], bool] | None = getattr(self.exchange.scope.get("user"), "is_valid", None)
        if is_valid is None or is_valid():
            return True
        expires_at = getattr(self.exchange.scope.get("user"), "expires_at", None)
        self.end(SESSION_ENDED if expires_at is None or time.time() < expires_at else TOKEN_EXPIRED)
        return False

    def note_message(self) -> None:
        """Note a message of the client."""
        self.received_at = time.monotonic()

    async def next(self, source: Any) -> Any:
        """Return the next event of a source; `None` when a heartbeat is due or the stream is over.

        A cancellation of the wait, as by `asyncio.timeout`, without its timer.
        """
        if self.is_over:
            return None
        self._cancelling = self._task.cancelling()
        self._is_waiting = True
        try:
            return await source.next()
        except asyncio.CancelledError:
            if not self._is_woken or self._task.uncancel() > self._cancelling:
                raise
            return None
        finally:
            self._is_waiting = self._is_woken = False

    async def send(self, message: Any) -> None:
        """Send a message; the time that it takes is limited by `OpenStreams`."""
        self.sending_since = time.monotonic()
        try:
            await self.exchange.send(message)
        finally:
            self.sending_since = 0.0
        self.sent_at = time.monotonic()

    def _wake(self) -> None:
        if self._is_waiting and not self._is_woken:
            self._is_woken = True
            self._task.cancel()

    def check(self, now: float, *, heartbeat_s: float, send_timeout_s: float) -> bool:
        """End the stream if it must end, or have it send a heartbeat; return whether it must be aborted."""
        if self.exchange.is_ending:
            return self._is_late(now)
        if not self.end_unless_permitted():
            return False
        if self.sending_since and now - self.sending_since > send_timeout_s:
            self.end(SLOW_CONSUMER)
        elif self.silence_s is not None and now - self.received_at > self.silence_s:
            self.end(SILENT_CLIENT)
        elif now - self.sent_at >= heartbeat_s:
            self._wake()
        return False

    def _is_late(self, now: float) -> bool:
        # Ended by the server when it stops, which aborts it as well.
        if not self._ended_at:
            return False
        return now - self._ended_at > (_CATCH_UP_S if self.sending_since else _RETURN_S)


class OpenStreams:
    """The open streams of a worker.

    Args:
        heartbeat_s: Seconds without an event until a heartbeat is sent.
        send_timeout_s: Seconds that a client may leave an event unread while the connection takes no more.
    """

    def __init__(self, *, heartbeat_s: float, send_timeout_s: float) -> None:
        self._heartbeat_s = heartbeat_s
        self._send_timeout_s = send_timeout_s
        self._streams: dict[Exchange, OpenStream] = {}
        self._turn: list[OpenStream] = []
        self._part = 0
        self._opened = asyncio.Event()

    def add(self, exchange: HttpExchange | WebSocketExchange) -> None:
        """Watch a stream until it ends."""
        stream = self._streams[exchange] = OpenStream(exchange)
        self._opened.set()

        async def remove() -> None:
            del self._streams[exchange]
            _count(stream)

        exchange.add_cleanup(remove)

    def of(self, scope: Scope) -> OpenStream | None:
        """Return the stream of a scope; `None` if its route is not one of streams."""
        exchange = current(scope)
        return None if exchange is None else self._streams.get(exchange)

    @asynccontextmanager
    async def lifespan(self, _: Litestar) -> AsyncGenerator[None]:
        """Check all streams while the application runs."""
        self._opened = asyncio.Event()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._run)
            yield
            tasks.cancel_scope.cancel()

    async def _run(self) -> None:
        while True:
            if not self._streams:
                self._opened.clear()
                await self._opened.wait()
            await asyncio.sleep(_CHECK_EVERY_S / _PARTS)
            if not self._turn:
                self._turn = list(self._streams.values())
                self._part = -(-len(self._turn) // _PARTS)
            part, self._turn = self._turn[: self._part], self._turn[self._part :]
            now = time.monotonic()
            late = [stream for stream in part if self._must_abort(stream, now)]
            if late:
                await _abort(late)

    def _must_abort(self, stream: OpenStream, now: float) -> bool:
        if stream.exchange.ended_ns:
            return False
        try:
            return stream.check(now, heartbeat_s=self._heartbeat_s, send_timeout_s=self._send_timeout_s)
        except Exception:
            # The other streams need their checks as well.
            log.exception("stream check failed")
            return False


async def _abort(streams: list[OpenStream]) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(_ABORT_S), asyncio.TaskGroup() as tasks:
            for stream in streams:
                tasks.create_task(stream.exchange.abort())


def _count(stream: OpenStream) -> None:
    exchange = stream.exchange
    if isinstance(exchange, HttpExchange):
        kind, ended_by, is_gone = "event_stream", exchange.incoming.ended_by, exchange.client_disconnected
    else:
        kind, ended_by, is_gone = "websocket", exchange.ended_by, stream.is_over
    reason = ended_by.reason if ended_by is not None else "client" if is_gone else "handler"
    ENDED.labels(kind, reason.replace(" ", "_")).inc()
