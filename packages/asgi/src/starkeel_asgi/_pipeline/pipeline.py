"""The pipeline around an application: all layers, one wrapper."""

import asyncio
from collections.abc import Callable
from enum import IntEnum
from itertools import takewhile
from time import perf_counter_ns
from typing import Any, Final, Protocol

import structlog
from litestar import Litestar
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, Scope, Send

from .._compat import respond_to, split_exception_handler
from .._exchange.config import ExchangeConfig
from .._exchange.exchange import SCOPE_KEY, Exchange
from .._exchange.headers import Header
from .._exchange.http import HttpExchange
from .._exchange.websocket import WebSocketExchange
from .router import Router

_LISTEN_AFTER_NS: Final = 50_000_000
"""Age in nanoseconds from which listening for a client's disconnect is worth its cost."""
_STATE_KEY: Final = "starkeel_asgi"
_INTERNAL: Final = b'{"type":"about:blank","title":"Internal Server Error","status":500}'

log = structlog.get_logger(__name__)

AnyExchange = HttpExchange | WebSocketExchange


class LayerOrder(IntEnum):
    """Position of the chassis' own layers; the lowest is outermost."""

    CLIENT_ADDRESS = 0
    DRAIN = 10
    TELEMETRY = 20
    EDGE = 30


class Layer(Protocol):
    """Part of the request path around the whole application; its methods are plain functions.

    `begin` is called in the layers' order before the application, `end` in reverse order after it. A layer
    may have `async conclude(exchange, error)` as well, called where the application raised or a deadline
    passed; it may respond, and returns the exception that is left.
    """

    @property
    def order(self) -> int:
        """Position; the lowest is outermost."""

    def begin(self, exchange: Any, /) -> None:
        """Note the begin of an exchange; may set its `intercept`."""

    def end(self, exchange: Any, error: BaseException | None, /) -> None:
        """Note the end of an exchange.

        Args:
            exchange: The exchange; it is over.
            error: The exception that is raised to the server.
        """


class Pipeline:
    """Wraps an application once, for all layers.

    Layers register functions; nothing is registered twice, so that an application may start again.

    Args:
        app: The application.
    """

    def __init__(self, app: Litestar) -> None:
        self._application, self._exception_handler = split_exception_handler(app)
        self._router = Router(app)
        self._is_direct = self._router.is_direct and self._exception_handler is not None
        self.config = ExchangeConfig()
        self._layers: list[Layer] = []
        self._begin: tuple[Callable[[Any], None], ...] = ()
        self._end: tuple[Callable[[Any, BaseException | None], None], ...] = ()
        self._concluding: list[Any] = []
        self.recent: dict[AnyExchange, None] = {}
        """Open exchanges in their order, without those that last."""
        self.lasting: dict[AnyExchange, None] = {}
        """Open exchanges that last: WebSockets, event streams, slow requests."""
        self.on_closed: Callable[[], None] | None = None
        """Called when an exchange has ended."""
        self.error_response: Callable[[Exchange, Exception], tuple[int, list[Header], bytes]] = (
            _internal_error
        )
        """Returns status, headers and body of the response to an unexpected exception."""

    def add(self, layer: Layer) -> None:
        """Add a layer; no effect if it is there already."""
        if layer in self._layers:
            return
        self._layers.append(layer)
        self._layers.sort(key=_order)
        self._begin = tuple(layer.begin for layer in self._layers)
        self._end = tuple(layer.end for layer in reversed(self._layers))
        self.config.layer_types = frozenset(map(type, self._layers))
        self._concluding = [layer for layer in reversed(self._layers) if hasattr(layer, "conclude")]

    def open_exchanges(self) -> set[AnyExchange]:
        """Return the exchanges that are open."""
        return {*self.recent, *self.lasting}

    def listen_for_disconnects(self) -> None:
        """Listen for the disconnect of clients whose requests begin to last; to be called now and then."""
        if not self.recent:
            return
        limit = perf_counter_ns() - _LISTEN_AFTER_NS
        for exchange in list(takewhile(lambda exchange: exchange.received_ns <= limit, self.recent)):
            if isinstance(exchange, HttpExchange) and not exchange.incoming.listen():
                continue
            del self.recent[exchange]
            self.lasting[exchange] = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: C901
        """Serve one request or WebSocket."""
        # In one piece, as each call in here costs every request.
        outer: Exchange | None = scope.get(SCOPE_KEY)  # type: ignore[assignment]  # our own key
        if outer is not None and self.config.layer_types <= outer.config.layer_types:
            # A mounted application: the layers around it are those of the outer one.
            await self._application(scope, receive, send)
            return
        exchange: AnyExchange
        router = self._router
        if scope["type"] == ScopeType.HTTP:
            exchange = HttpExchange(scope, receive, send, self.config)
            self.recent[exchange] = None
            facts = exchange.facts
            route = None if scope.get("root_path") else router.routes.get((facts[1], facts[0]))
            exchange.route = router.find(scope) if route is None else route
        else:
            exchange = WebSocketExchange(scope, receive, send, self.config)
            self.lasting[exchange] = None
            exchange.route = router.find(scope)
        scope[SCOPE_KEY] = exchange  # type: ignore[typeddict-unknown-key]  # our own key
        error: BaseException | None = None
        handler: ASGIApp | None = None
        try:
            for begin in self._begin:
                begin(exchange)
            if exchange.intercept is None or await exchange.intercept(exchange):
                handler, application = self._exception_handler, self._application
                host = exchange.headers.get(b"host")
                if (
                    self._is_direct
                    and (route := exchange.route) is not None
                    and (host in router.hosts or router.is_valid_host(host or b""))
                ):
                    router.enter(scope, route)
                    application = route.app
                await application(scope, exchange.receive, exchange.send)
        except BaseException as raised:  # noqa: BLE001  (raised again below, or responded to)
            error = raised
        if error is not None or exchange.needs_conclusion:
            error = await self._conclude(exchange, error, handler)
        exchange.ended_ns = perf_counter_ns()
        for end in self._end:
            try:
                end(exchange, error)
            except Exception:
                # The other layers must note the end as well.
                log.exception("layer failed")
        if exchange in self.recent:
            del self.recent[exchange]
        else:
            self.lasting.pop(exchange, None)
            exchange.stop_listening()
        # Scope and exchange refer to each other; the garbage collector would cost more than all of the above.
        if outer is None:
            del scope[SCOPE_KEY]  # type: ignore[typeddict-item]  # our own key
        else:
            scope[SCOPE_KEY] = outer  # type: ignore[typeddict-unknown-key]  # our own key
        if self.on_closed is not None:
            self.on_closed()
        if error is not None:
            raise error

    async def _conclude(
        self, exchange: AnyExchange, error: BaseException | None, handler: ASGIApp | None
    ) -> BaseException | None:
        """Respond to an exception, and clean up; return the exception for the server, if any."""
        exchange.error = exchange.error or error
        if isinstance(error, Exception) and not (exchange.is_expired or exchange.is_aborted):
            error = await _handled(handler, exchange, error)
        try:
            await exchange.clean_up()
        except BaseException as raised:  # noqa: BLE001  (returned)
            error = error or raised
        await exchange.finish()
        if exchange.is_aborted:
            # The client has its response; the exception is the effect of the cancellation.
            return error if error is not None and not isinstance(error, _CAUSED_BY_ABORT) else None
        for layer in self._concluding:
            error = await layer.conclude(exchange, error)
        if isinstance(error, Exception) and isinstance(exchange, HttpExchange) and not exchange.is_started:
            await exchange.respond(*self.error_response(exchange, error))
            return None
        return error


def pipeline_of(app: Litestar) -> Pipeline:
    """Return the pipeline of an application; the first call puts it around the application.

    To be called when the application starts: what wraps it before then is inside the pipeline.
    """
    pipeline = app.state.get(_STATE_KEY)
    if not isinstance(pipeline, Pipeline):
        pipeline = Pipeline(app)
        app.asgi_handler = app.state[_STATE_KEY] = pipeline
    return pipeline


_CAUSED_BY_ABORT: Final = (asyncio.CancelledError, Exception)


async def _handled(handler: ASGIApp | None, exchange: AnyExchange, error: Exception) -> BaseException | None:
    """Have Litestar respond to an exception of the application; return what it raises."""
    is_http_started = exchange.is_started and isinstance(exchange, HttpExchange)
    if handler is None or exchange.is_complete or is_http_started:
        return error
    try:
        await respond_to(handler, error, exchange.scope, exchange.receive, exchange.send)
    except BaseException as raised:  # noqa: BLE001  (returned)
        return raised
    return None


def _internal_error(exchange: Exchange, error: Exception) -> tuple[int, list[Header], bytes]:
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    log.error("request failed", error_type=name, exc_info=error)
    # Later layers must not log it again.
    exchange.scope.setdefault("state", {})["error_type"] = name
    length = str(len(_INTERNAL)).encode()
    return 500, [(b"content-type", b"application/problem+json"), (b"content-length", length)], _INTERNAL


def _order(layer: Layer) -> int:
    return layer.order
