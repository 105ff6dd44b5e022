"""One HTTP request and its response."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from litestar.types import Receive, Scope, Send

from .._compat import forget_response, forget_start
from .config import ExchangeConfig, Header
from .deadlines import DeadlineQueue
from .encoded_body import EncodingExchange
from .exchange import Exchange, drop_message
from .gates import Gate, GateOrder, Gates
from .incoming import Incoming
from .response_headers import UNAVAILABLE, USUAL_STATUSES, HeadersOnly, completed_headers, content_headers
from .stream_end import SERVICE_RESTART, StreamEnd

_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_OVERTIME_S: Final = 5.0
"""Seconds that gates which run when the deadline passes have to finish."""


class HttpExchange(EncodingExchange):
    """A request and its response.

    Response headers are completed in one place: default headers, `added_headers` and the request id.

    Attributes:
        inner: The exchange of an application that is mounted in this one's.
        max_body_bytes: Size from which a request body is refused with 413.
        body_timeout_s: Seconds that the client may keep the application waiting for the body.
        shape_response: Changes status and headers of a response that starts; may raise an `HTTPException`.
        must_close: The response has `Connection: close`; `is_dropped`: its client's disconnect cancelled it.
        is_queued: It waits for its turn; `turn_of`: its turn, once it has begun.
    """

    __slots__ = (
        *("_gates", "_incoming", "_is_overdue", "_is_streaming", "_kept", "_length", "body_timeout_s"),
        *("inner", "is_abandoned", "is_dropped", "is_queued", "max_body_bytes", "must_close", "turn_of"),
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send, config: ExchangeConfig) -> None:
        Exchange.__init__(self, scope, receive, send, config)
        self._incoming: Incoming | None = None
        self._gates: Gates | None = None
        self._kept: Any = None
        self.shape_response = None
        self._length: bytes | None = None
        self.inner: HttpExchange | None = None
        self.is_dropped = self.is_queued = False
        self.turn_of: Any = None
        self.max_body_bytes: int | None = None
        self.body_timeout_s: float | None = config.body_timeout_s
        self._is_overdue = self._is_streaming = self.is_abandoned = self.must_close = False

    @property
    def incoming(self) -> Incoming:
        """The messages of the client."""
        if self._incoming is None:
            self._incoming = Incoming(
                self._receive, self.config.loop, max_bytes=self.max_body_bytes, timeout_s=self.body_timeout_s
            )
            self._incoming.is_answered = self.is_started
        return self._incoming

    def receive(self) -> Awaitable[Any]:
        """Receive the next message; the application's `receive`.

        Raises:
            HTTPException: With 408 when the body did not arrive in time, with 400 if its end never will.
            RequestEntityTooLarge: The body is larger than `max_body_bytes`.
        """
        return self.incoming.receive()

    def send(self, message: Any) -> Awaitable[None]:
        """Send a message to the client; the application's `send`.

        Raises:
            DeadlineExceeded: The deadline passed.
        """
        # No coroutine: awaiting what the server returns is one call less.
        if self._divert is not None:
            return self._divert(message)
        kind = message["type"]
        if kind == "http.response.body":
            self.sent_bytes += len(message.get("body", b""))
            if message.get("more_body"):
                self._is_streaming = True
                if self.is_event_stream:
                    self.incoming.last_sent = message.get("body", b"")
                self.is_abandoned = self.is_abandoned or self.client_disconnected
            elif self._is_streaming:
                return self._send_last(message)
            else:
                self._complete()
        elif kind == "http.response.start":
            return self._send_start(self._started(message))
        elif kind == "http.response.pathsend":
            self._complete()
        return self._send(message)

    async def respond(self, status: int, headers: list[Header], body: bytes) -> None:
        """Send a whole response in place of the application's, regardless of deadline and gates."""
        self._divert = drop_message
        start = self._started({"type": "http.response.start", "status": status, "headers": headers})
        self._complete()
        self.sent_bytes += len(body)
        await self._send(start)
        await self._send({"type": "http.response.body", "body": body, "more_body": False})

    def omit_body(self) -> None:
        """Send the response without its body, whose production ends as soon as the headers are sent."""
        if not isinstance(self._send, HeadersOnly):
            self._send = HeadersOnly(self._send, self._omit_rest)

    def add_gate(self, gate: Gate, order: GateOrder) -> None:
        """Run an async function before the response starts; if it raises, nothing has been sent."""
        held = self._held()
        held.gates = (*held.gates, (order, gate))

    def buffer_response(self, is_buffered: Callable[[int], bool]) -> None:
        """Hold the body back until the gates have run, where `is_buffered(status)` is true."""
        self._held().is_buffered = is_buffered

    def keep_body(self) -> None:
        """Keep the request body, and what the exchange has now, for `restart`."""
        self.incoming.kept = []
        held, cleanups = self._held(), len(self._cleanups or ())
        self._kept = held.gates, held.is_buffered, cleanups, self.added_headers

    async def restart(self) -> None:
        """Prepare for another run of what `keep_body` was called before; nothing must have been sent.

        Runs the cleanups, removes gates and headers added since, and delivers the kept body again.
        """
        held = self._held()
        held.gates, held.is_buffered, cleanups, self.added_headers = self._kept
        await self.clean_up(cleanups)
        self.incoming.rewind()
        forget_response(self.scope)

    def mount(self, outer: Exchange) -> None:
        """Continue an exchange in a mounted application, which adds the headers of both to its response."""
        super().mount(outer)
        if isinstance(outer, HttpExchange):
            outer.inner = self

    def expire(self) -> None:
        """Cancel the application, or have gates that run finish first: a commit is never interrupted.

        The application is cancelled if they fail, or take longer than five seconds more.
        """
        if self.is_committing and not self._is_overdue:
            self._is_overdue = True
            self._deadline = DeadlineQueue(_OVERTIME_S)
            self._deadline.add(self)
        else:
            super().expire()

    @property
    def client_disconnected(self) -> bool:
        """Whether the client disconnected before the response was complete."""
        if self.is_complete or self._incoming is None:
            return self.is_abandoned
        return self._incoming.is_disconnected

    def listen(self) -> bool:
        """Listen for the client's disconnect in the background; return whether this needs no second call."""
        self.incoming.on_disconnect = self._drop
        return self.incoming.listen()

    @property
    def is_withheld(self) -> bool:
        """Whether the response has started without any part of the body: Granian has sent nothing."""
        is_sent = self.is_complete or self._is_streaming or self.is_event_stream
        return self.is_started and not is_sent and not self.client_disconnected

    @property
    def is_committing(self) -> bool:
        """Whether gates run, here or in a mounted application."""
        if self._gates is not None and self._gates.is_running:
            return True
        return self.inner is not None and self.inner.is_committing

    @property
    def is_body_too_large(self) -> bool:
        """Whether the application was refused a body larger than `max_body_bytes`."""
        return self._incoming is not None and self._incoming.is_too_large

    @property
    def is_reading_body(self) -> bool:
        """Whether the application waits for the request body."""
        return self._incoming is not None and self._incoming.is_reading_body

    def end(self, why: StreamEnd = SERVICE_RESTART) -> bool:
        """End an event stream: the application receives a disconnect, and the client an event `end`.

        Return whether this is one. A stream that starts later ends as soon as it starts.
        """
        if super().end():
            self.incoming.end(why)
        return self.is_event_stream

    async def finish(self) -> None:
        """Send 503 if it was aborted, or the last chunk of an event stream that was ended."""
        if self.is_aborted and not self.is_started:
            self.must_close = True
            await self.respond(*UNAVAILABLE)
        elif self.is_event_stream and self.is_ending and not self.is_complete:
            self._divert = drop_message
            self.sent_bytes += len(body := self.incoming.last_event())
            await self._send_last({"type": "http.response.body", "body": body, "more_body": False})

    def release(self) -> None:
        """Drop what belongs to server and application, and stop listening to the client."""
        if self._incoming is not None:
            self.is_abandoned = self.is_abandoned or (not self.is_complete and self.client_disconnected)
            self._incoming.stop()
        self._incoming = self._gates = self._kept = None
        if isinstance(self.outer, HttpExchange):
            self.outer.inner = None
        Exchange.release(self)

    def _drop(self) -> None:
        # What has begun and is not safe (RFC 9110, 9.2.1) finishes, as does a response that has started.
        is_needless = self.is_queued or (self.facts[0] in _SAFE and not self.is_started)
        is_over = self.outer is not None or self.ended_ns or self.is_expired or self.is_aborted
        if is_needless and not is_over and not self.is_committing:
            self.is_dropped = self.needs_conclusion = True
            self._divert = drop_message
            self.lift_deadline()
            self._task.cancel()

    def _started(self, message: Any) -> Any:
        status, given = message["status"], message.get("headers", ())
        if status not in USUAL_STATUSES:
            given = content_headers(status, given)
            self.omit_body()
        names = dict(given)
        if self.shape_response is not None and self._divert is None:
            status, given = self._shaped(status, given, names)
        self.status = status
        self._length = names.get(b"content-length")
        if names.get(b"content-type", b"")[:17] == b"text/event-stream":
            self.is_event_stream = True
            self.lift_deadline()
            if self.is_ending:
                self.incoming.end()
        if self.config.before_headers is not None:
            self.config.before_headers(self)
        if self._incoming is not None:
            self._incoming.is_answered = True
            self.must_close = self.must_close or self._incoming.must_close
        return {**message, "status": status, "headers": completed_headers(self, given, names)}

    def _omit_rest(self, *, is_streaming: bool) -> None:
        self._divert, self.sent_bytes = drop_message, 0
        self._complete()
        if is_streaming:
            # The application must not produce what no client receives.
            self.incoming.end()

    def _complete(self) -> None:
        if (incoming := self._incoming) is not None:
            self.is_abandoned = incoming.is_disconnected
            self.needs_conclusion = self.needs_conclusion or incoming.is_too_large
        self.is_complete = True
        # Background tasks are not part of the response.
        self.lift_deadline()

    async def _send_last(self, message: Any) -> None:
        # The server may wait for the client here: the deadline holds until the last chunk is accepted.
        # A client may disconnect as soon as it has all bytes; an empty chunk may follow.
        if self.client_disconnected and (message.get("body") or self._length != b"%d" % self.sent_bytes):
            self.is_abandoned = True
        is_abandoned = self.is_abandoned
        await self._send(message)
        self._complete()
        self.is_abandoned = is_abandoned

    def _held(self) -> Gates:
        if self._gates is None:
            self._gates = Gates(self.send, opened=self._open, failed=self._fail)
            if self._divert is None:
                self._divert = self._gates.send
        return self._gates

    async def _fail(self) -> None:
        forget_start(self.scope)
        if self._is_overdue and not self.is_expired:
            Exchange.expire(self)
            await asyncio.sleep(0)  # raises the cancellation

    def _open(self) -> None:
        # Unless the service aborted this while the gates ran. Bound methods are equal, never identical.
        if self._gates is not None and self._divert == self._gates.send:
            self._divert = None
