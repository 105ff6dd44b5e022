"""What HTTP and WebSocket exchanges have in common."""

import asyncio
from collections.abc import Awaitable, Callable
from operator import itemgetter
from time import perf_counter_ns
from typing import Any, Final, cast

from litestar.types import Receive, Scope, Send

from .config import ExchangeConfig
from .deadline import DeadlineQueue
from .headers import Header, header_map

SCOPE_KEY: Final = "starkeel_asgi"
"""Where the exchange stands in the ASGI scope while the application runs."""

_FACTS: Final = ("method", "path", "headers", "client", "scheme", "http_version", "server")
_facts_of: Final = itemgetter(*_FACTS)

Cleanup = Callable[[], Awaitable[None]]


class DeadlineExceeded(Exception):
    """The application sends after its deadline; the client has its response already."""


class Exchange:
    """One request with its response, or one WebSocket: facts, and the only wrapper of `receive` and `send`.

    Created by the pipeline around the application; `current(scope)` returns it anywhere below.

    Args:
        scope: The ASGI scope.
        receive: The server's.
        send: The server's.
        config: What all exchanges of the application have in common.
    """

    __slots__ = (
        *("_cancelling", "_cleanups", "_deadline", "_divert", "_receive", "_send"),
        *(
            "added_headers",
            "config",
            "context",
            "ended_ns",
            "error",
            "facts",
            "headers",
            "id",
            "id_bytes",
            "ids",
            "intercept",
        ),
        *(
            "is_aborted",
            "is_complete",
            "is_event_stream",
            "is_expired",
            "is_peer_trusted",
            "limits",
            "policy",
            "received_ns",
        ),
        *("is_ending", "needs_conclusion", "scope", "sent_bytes", "status", "task"),
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send, config: ExchangeConfig) -> None:
        self.received_ns = perf_counter_ns()
        self.ended_ns = 0
        """`perf_counter_ns()` when the application returned; 0 before."""
        # Now, as a router may change the path.
        try:
            self.facts = _facts_of(scope)
        except KeyError:
            self.facts = _completed(scope)
        """Method, path, headers, client, scheme, HTTP version and server, as the scope had them."""
        self.headers: dict[bytes, bytes] = header_map(self.facts[2])
        """Request headers by name; the values of a repeated name are joined."""
        self.scope = scope
        self.config = config
        self._receive = receive
        self._send = send
        self._divert: Callable[[Any], Awaitable[None]] | None = None
        """Sends in place of the server's `send`; `None` for most messages."""
        self.task = cast("asyncio.Task[Any]", asyncio.current_task())
        self._cancelling = 0
        self._deadline: DeadlineQueue | None = None
        self._cleanups: list[Cleanup] | None = None
        self.status = 0
        """Status of the response; 0 before it starts."""
        self.sent_bytes = 0
        """Bytes of the response body, or of WebSocket messages."""
        self.is_complete = False
        """Whether the last byte of the response was passed to the server, or the WebSocket was closed."""
        self.is_event_stream = False
        """Whether this is an event stream or a WebSocket, which last as long as the client wants."""
        self.is_expired = False
        """Whether the deadline passed."""
        self.is_ending = False
        """Whether it was asked to end, as the service stops."""
        self.is_aborted = False
        """Whether it was cancelled, as the service stops."""
        self.needs_conclusion = False
        """Whether something is left to do once the application has returned."""
        self.error: BaseException | None = None
        """The exception of the application, also where the client got a response to it."""
        self.added_headers: tuple[Header, ...] = ()
        """Headers that the response gets; of those that it has already, both are sent."""
        self.intercept: Callable[[Any], Awaitable[bool]] | None = None
        """Runs in place of the application, which follows only if it returns `True`."""
        self.id = ""
        """The request id; empty unless a layer sets one."""
        self.id_bytes = b""
        self.ids = b""
        """Trace id, 16 bytes, and span id, 8 bytes; empty unless a layer sets them."""
        self.context: Any = None
        """State of the telemetry layer."""
        self.policy: Any = None
        """State of the edge layer."""
        self.limits: tuple[Any, ...] = ()
        """Results of the rate limits that were checked."""
        self.is_peer_trusted = False
        """Whether the peer is a trusted proxy."""

    def refresh(self) -> None:
        """Read the facts from the scope again, after a change of the client's address or the scheme."""
        self.facts = _facts_of(self.scope) if "method" in self.scope else _completed(self.scope)

    @property
    def path(self) -> str:
        """The path of the request, as received."""
        path: str = self.facts[1]
        return path

    @property
    def method(self) -> str:
        """The method of the request, as received; `GET` for a WebSocket."""
        method: str = self.facts[0]
        return method

    @property
    def client(self) -> str | None:
        """The client's address, behind trusted proxies that of their client; `None` if unknown."""
        client = self.facts[3]
        return client[0] if client else None

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

    async def clean_up(self) -> None:
        """Run the cleanups; an exception is raised once all have run."""
        cleanups, self._cleanups = self._cleanups, None
        failure: BaseException | None = None
        while cleanups:
            try:
                await cleanups.pop()()
            except BaseException as error:  # noqa: BLE001  (raised below)
                failure = failure or error
        if failure is not None:
            raise failure

    def set_deadline(self, queue: DeadlineQueue, at: float) -> None:
        """Cancel the application when the time of a queue is over.

        Args:
            queue: The queue, which says when that is.
            at: The same as `time.monotonic()` seconds, for `scope["state"]["deadline"]`.
        """
        # As `asyncio.timeout`: a cancellation by others must be distinguished from the deadline's.
        self._cancelling = self.task.cancelling()
        self._deadline = queue
        queue.add(self)
        self.scope["state"]["deadline"] = at

    def lift_deadline(self) -> None:
        """Remove the deadline; no effect if it has passed."""
        if self._deadline is not None:
            self._deadline.remove(self)
            self._deadline = None
            self.scope["state"].pop("deadline", None)

    def end(self) -> bool:
        """End it because the service stops, if it is a stream; return whether it is."""
        raise NotImplementedError

    def expire(self) -> None:
        """Cancel the application: the deadline passed."""
        self.is_expired = self.needs_conclusion = True
        self._divert = _raise_expired
        self.task.cancel()

    def is_cancelled_by_deadline_alone(self) -> bool:
        """Return whether only the deadline cancelled the task; to be called once, after it passed."""
        return self.task.uncancel() <= self._cancelling


def current(scope: Scope) -> Exchange | None:
    """Return the exchange of a scope; `None` outside of a pipeline."""
    exchange: Exchange | None = scope.get(SCOPE_KEY)  # type: ignore[assignment]  # our own key
    return exchange


async def _raise_expired(_: Any) -> None:
    raise DeadlineExceeded


async def drop_message(_: Any) -> None:
    """Send nothing: the client has its response already."""


def _completed(scope: Any) -> tuple[Any, ...]:
    # The handshake of a WebSocket is a GET, which ASGI leaves out.
    given: dict[str, Any] = {"method": "GET", "headers": (), **scope}
    return tuple(given.get(name) for name in _FACTS)
