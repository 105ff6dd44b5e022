"""Base of HTTP and WebSocket exchanges."""

import asyncio
from collections.abc import Awaitable, Callable
from operator import itemgetter
from time import perf_counter_ns
from typing import Any, Final, cast

from litestar.types import Receive, Scope, Send

from .config import ExchangeConfig
from .deadline import DeadlineQueue
from .headers import Header, header_map
from .route import Route

SCOPE_KEY: Final = "starkeel_asgi"
"""Key of the exchange in the ASGI scope while the application runs."""

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
        config: Settings that all exchanges of the application share.

    Attributes:
        received_ns: `perf_counter_ns()` when the request arrived.
        ended_ns: `perf_counter_ns()` when the application returned; 0 before.
        facts: Method, path, headers, client, scheme, HTTP version and server, as the scope had them.
        headers: Request headers by name; the values of a repeated name are joined.
        route: The route; `None` if no route matches.
        status: Status of the response; 0 before it starts.
        sent_bytes: Bytes of the response body, or of WebSocket messages.
        is_complete: The last byte of the response was passed to the server, or the WebSocket was closed.
        is_event_stream: It is an event stream or a WebSocket, which last as long as the client requires.
        is_expired: The deadline passed.
        is_ending: It must end, as the service stops.
        is_aborted: It was cancelled, as the service stops.
        needs_conclusion: Something is left to do once the application has returned.
        error: The exception of the application, also where the client got a response to it.
        added_headers: Headers added to the response; one that it has already is sent twice.
        intercept: Runs before the application, which follows only if it returns `True`.
        id: The request id; empty unless a layer sets one, as are `id_bytes` and `ids`.
        ids: Trace id, 16 bytes, and span id, 8 bytes.
        is_peer_trusted: The peer is a trusted proxy.
        limits: Results of the rate limits that were checked.
        context: State of the telemetry layer.
        policy: State of the edge layer.
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
        *("is_ending", "needs_conclusion", "route", "scope", "sent_bytes", "status", "task"),
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send, config: ExchangeConfig) -> None:
        self.received_ns = perf_counter_ns()
        self.ended_ns = 0
        # Now, as a router may change the path.
        try:
            self.facts = _facts_of(scope)
        except KeyError:
            self.facts = _completed(scope)
        self.headers: dict[bytes, bytes] = header_map(self.facts[2])
        self.scope = scope
        self.config = config
        self._receive = receive
        self._send = send
        self._divert: Callable[[Any], Awaitable[None]] | None = None
        """Sends in place of the server's `send`; `None` for most messages."""
        self.task = cast("asyncio.Task[Any]", asyncio.current_task())
        self._deadline: DeadlineQueue | None = None
        self._cleanups: list[Cleanup] | None = None
        self._cancelling = self.status = self.sent_bytes = 0
        self.is_complete = self.is_event_stream = self.is_expired = self.is_ending = self.is_aborted = False
        self.needs_conclusion = self.is_peer_trusted = False
        self.error: BaseException | None = None
        self.route: Route | None = None
        self.added_headers: tuple[Header, ...] = ()
        self.limits: tuple[Any, ...] = ()
        self.intercept: Callable[[Any], Awaitable[bool]] | None = None
        self.id = ""
        self.id_bytes = self.ids = b""
        self.context: Any = None
        self.policy: Any = None

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
            queue: Queue of the deadline's length.
            at: End of the deadline in `time.monotonic()` seconds, for `scope["state"]["deadline"]`.
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
