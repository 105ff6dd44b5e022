"""Base of HTTP and WebSocket exchanges: facts, deadline and cleanups."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from operator import itemgetter
from time import perf_counter_ns
from typing import Any, Final

from litestar.types import Receive, Scope, Send

from .._compat import Route
from .config import FORWARDING, ExchangeConfig, Header, header_map
from .deadlines import DeadlineQueue
from .stream_end import SERVICE_RESTART, StreamEnd

SCOPE_KEY: Final = "starkeel_asgi"
"""Key of the exchange in the ASGI scope while the application runs."""

_FACTS: Final = ("method", "path", "headers", "client", "scheme", "http_version", "server")
_facts_of: Final = itemgetter(*_FACTS)
_NO_SCOPE: Final[Any] = {}

Cleanup = Callable[[], Awaitable[None]]
_Facts = tuple[str, str, Any, Any, str, Any, Any]


class DeadlineExceeded(Exception):
    """The application sends after its deadline; the client has its response already."""


class Exchange:
    """One request with its response, or one WebSocket: facts, and the only wrapper of `receive` and `send`.

    Created by the pipeline around the application; `current(scope)` returns it anywhere below.

    Attributes:
        received_ns: `perf_counter_ns()` when the request arrived; `ended_ns`: when the application returned.
        facts: Method, path, headers, client, scheme, HTTP version and server, as the scope had them.
        deadline_at: End of the deadline in `time.monotonic()` seconds; also in `scope["state"]["deadline"]`.
        headers: Request headers by name; the values of a repeated name are joined.
        is_from_proxy: The peer is a trusted proxy.
        scope: The ASGI scope; empty once the exchange has ended.
        outer: The exchange of the application in which this one's application is mounted.
        status: Status of the response; 0 before it starts.
        sent_bytes: Bytes of the response body, or of WebSocket messages.
        is_complete: The last byte of the response was passed to the server, or the WebSocket was closed.
        is_event_stream: It is an event stream or a WebSocket, which last as long as the client requires.
        is_ending: It must end, such as when the service stops; `is_aborted`: it was cancelled.
        needs_conclusion: Something is left to do once the application has returned.
        error: The exception of the application, also where the client got a response to it, until the end.
        added_headers: Headers added to the response; one that it has already is sent twice.
        intercept: Runs before the application, which follows only if it returns `True`.
        id: The request id; empty unless a layer sets one, as are `id_bytes` and `ids`.
        ids: Trace id, 16 bytes, and span id, 8 bytes.
        peer: Address and port of the connection's other end, a client or a proxy; `None` if unknown.
        context: State of the telemetry layer; `policy`: that of the edge layer.
    """

    __slots__ = (
        *("_cancelling", "_cleanups", "_deadline", "_divert", "_receive", "_send", "_task"),
        *("added_headers", "config", "context", "deadline_at", "ended_ns", "error", "facts", "headers"),
        *("id", "id_bytes", "ids", "intercept", "is_aborted", "is_complete", "is_ending"),
        *("is_event_stream", "is_expired", "is_from_proxy", "needs_conclusion", "outer", "peer"),
        *("policy", "received_ns", "route", "scope", "sent_bytes", "status"),
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send, config: ExchangeConfig) -> None:
        self.received_ns = perf_counter_ns()
        # Now, as a router may change the path.
        try:
            self.facts: _Facts = _facts_of(scope)
        except KeyError:
            self.facts = _completed(scope)
        given, self.peer = self.facts[2:4]
        self.headers: dict[bytes, bytes] = dict(given)
        if len(self.headers) != len(given):
            self.headers = header_map(given)
        self.scope, self.config = scope, config
        self._receive, self._send = receive, send
        self._divert: Callable[[Any], Awaitable[None]] | None = None
        """Sends in place of the server's `send`; `None` for most messages."""
        self._task: Any = asyncio.current_task(config.loop)
        if self._task is None or config.loop is None:
            self._task = asyncio.current_task()
            config.loop = self._task.get_loop()
        self._deadline: DeadlineQueue | None = None
        self.deadline_at: float | None = None
        self._cleanups: list[Cleanup] | None = None
        self._cancelling = self.status = self.sent_bytes = self.ended_ns = 0
        self.is_complete = self.is_event_stream = self.is_expired = self.is_ending = self.is_aborted = False
        self.needs_conclusion = self.is_from_proxy = False
        self.error: BaseException | None = None
        self.outer: Exchange | None = None
        self.route: Route | None = None
        self.added_headers: tuple[Header, ...] = ()
        self.intercept: Callable[[Any], Awaitable[bool]] | None = None
        self.id = ""
        self.id_bytes = self.ids = b""
        self.context: Any = None
        self.policy: Any = None

    def refresh(self) -> None:
        """Read the facts from the scope again, after a change of the client's address or the scheme."""
        self.facts = _completed(self.scope)

    def mount(self, outer: "Exchange") -> None:
        """Continue an exchange in a mounted application, which adds the headers of both to its response."""
        self.outer = outer
        self.facts, self.id, self.ids = outer.facts, outer.id, outer.ids
        self.is_from_proxy, self.deadline_at = outer.is_from_proxy, outer.deadline_at
        self.added_headers = outer.added_headers
        outer.added_headers = ()

    @property
    def path(self) -> str:
        """The path of the request, as received."""
        return self.facts[1]

    @property
    def method(self) -> str:
        """The method of the request, as received; `GET` for a WebSocket."""
        return self.facts[0]

    @property
    def client(self) -> str | None:
        """The client's address, behind trusted proxies that of their client; `None` if unknown."""
        return self.facts[3][0] if self.facts[3] else None

    @property
    def is_internal(self) -> bool:
        """Whether another service of the same system sent the request, without a proxy between.

        Its trace context, baggage and deadline are then valid here; those of others are not
        (decision 0008). Not stored, as few requests have headers that depend on it.
        """
        if self.outer is not None:
            return self.outer.is_internal
        client = self.client
        return (
            client is not None
            and not self.is_from_proxy
            and FORWARDING.isdisjoint(self.headers)
            and self.config.is_internal(client)
        )

    @property
    def is_started(self) -> bool:
        """Whether the response has started, or the WebSocket was accepted or refused."""
        return self.status != 0

    def add_cleanup(self, cleanup: Cleanup) -> None:
        """Have an async function run when the application has returned or raised; last added, first run."""
        if self._cleanups is None:
            self._cleanups = []
            self.needs_conclusion = True
        self._cleanups.append(cleanup)

    async def clean_up(self, keep: int = 0) -> None:
        """Run the cleanups, but not the first `keep`; an exception is raised once all have run."""
        cleanups = self._cleanups or []
        failure: BaseException | None = None
        while len(cleanups) > keep:
            try:
                await cleanups.pop()()
            except BaseException as error:  # noqa: BLE001  (raised below)
                failure = failure or error
        if failure is not None:
            raise failure

    def set_deadline(self, queue: DeadlineQueue) -> None:
        """Cancel the application when the time of a queue is over, from now on."""
        # As `asyncio.timeout`: a cancellation by others must be distinguished from the deadline's.
        self._cancelling = self._task.cancelling()
        self._deadline = queue
        at = queue.add(self)
        self.deadline_at = at if self.deadline_at is None else min(at, self.deadline_at)
        self.scope["state"]["deadline"] = self.deadline_at

    def lift_deadline(self) -> None:
        """Remove the deadline; no effect if it has passed."""
        if self._deadline is None:
            return
        self._deadline.remove(self)
        self._deadline = None
        self.deadline_at = None if self.outer is None else self.outer.deadline_at
        if self.deadline_at is None:
            self.scope["state"].pop("deadline", None)
        else:
            self.scope["state"]["deadline"] = self.deadline_at

    def expire(self) -> None:
        """Cancel the application: the deadline passed."""
        self.is_expired = self.needs_conclusion = True
        self._divert = _raise_expired
        self._task.cancel()

    def is_cancelled_by_deadline_alone(self) -> bool:
        """Return whether only the deadline cancelled the task; to be called once, after it passed."""
        return bool(self._task.uncancel() <= self._cancelling)

    def end(self, why: StreamEnd = SERVICE_RESTART) -> bool:  # noqa: ARG002  (of streams)
        """End it if it is a stream, by default because the service stops; return whether it is.

        A stream that starts later ends as soon as it starts.
        """
        self.is_ending = self.needs_conclusion = True
        return self.is_event_stream

    async def finish(self) -> None:
        """Complete what the client receives where the service ended or aborted it."""

    async def abort(self) -> None:
        """Respond with 503 or end the stream, and cancel the application, as the service stops."""
        if self.ended_ns:
            return
        task, self.is_aborted = self._task, True
        self.lift_deadline()
        try:
            # A client that has disconnected needs no response.
            with suppress(Exception):
                await self.finish()
        finally:
            # A partially sent response cannot be corrected: its connection is dropped.
            self._divert = drop_message
            task.cancel()

    def release(self) -> None:
        """Drop what belongs to server and application: telemetry keeps an exchange until it is exported."""
        if self._deadline is not None:
            self.lift_deadline()
        if (outer := self.outer) is not None:
            outer.error = outer.error or self.error
            if not self.is_started:
                outer.added_headers = self.added_headers
        self._receive, self._send = _no_message, drop_message
        self._divert = drop_message
        self.scope = _NO_SCOPE
        self._task = self._cleanups = self.outer = self.error = self.intercept = None


def current(scope: Scope) -> Exchange | None:
    """Return the exchange of a scope; `None` outside of a pipeline."""
    exchange: Exchange | None = scope.get(SCOPE_KEY)  # type: ignore[assignment]  # our own key
    return exchange


async def drop_message(_: Any) -> None:
    """Send nothing: the client has its response already."""


async def _raise_expired(_: Any) -> None:
    raise DeadlineExceeded


async def _no_message() -> Any:
    return {"type": "http.disconnect"}


def _completed(scope: Any) -> Any:
    # The handshake of a WebSocket is a GET, which ASGI leaves out.
    given: dict[str, Any] = {"method": "GET", "headers": (), **scope}
    return tuple(map(given.get, _FACTS))
