"""The pipeline around an application: all layers, one wrapper."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable
from enum import IntEnum
from operator import attrgetter, length_hint
from time import perf_counter_ns
from typing import Any, Final, Protocol

import structlog
from litestar import Litestar
from litestar.enums import ScopeType
from litestar.exceptions import HTTPException
from litestar.types import ASGIApp, Receive, Scope, Send
from litestar.utils.scope.state import ScopeState

from ._compat import Router, respond_to, split_exception_handler
from ._exchange.config import ExchangeConfig, Header
from ._exchange.exchange import SCOPE_KEY, Exchange
from ._exchange.http import HttpExchange
from ._exchange.websocket import WebSocketExchange
from ._json_response import JsonResponse
from ._open_exchanges import AnyExchange, OpenExchanges
from ._request_rules import RARE_HEADERS, admit

_HTTP: Final = ScopeType.HTTP
_STATE_KEY: Final = "starkeel_asgi"
_is_plain: Final = RARE_HEADERS.isdisjoint

log = structlog.get_logger(__name__)

ErrorResponse = Callable[[Exchange, Exception], tuple[int, list[Header], bytes]]


class LayerOrder(IntEnum):
    """Position of the chassis' own layers; the lowest is outermost."""

    CLIENT_ADDRESS = 0
    DRAIN = 10
    TELEMETRY = 20
    EDGE = 30


class Layer(Protocol):
    """Part of the request path around the whole application; its methods are plain functions.

    `begin` is called in the layers' order before the application, `end` in reverse order after it, for each
    layer whose `begin` has returned. A layer may have `async conclude(exchange, error)` as well, called where
    the application raised or a deadline passed; it may respond, and returns the exception that is left.

    In a mounted application a layer applies unless the application around it has one of the same type; with
    `applies_when_mounted = True` it applies there as well, with its own settings.
    """

    @property
    def order(self) -> int:
        """Position; the lowest is outermost."""

    def begin(self, exchange: Any, /) -> None:
        """Note the begin of an exchange; may set its `intercept`."""

    def end(self, exchange: Any, error: BaseException | None, /) -> None:
        """Note the end of an exchange, and the exception that is raised to the server."""


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
        self._chain = _chain(())
        self._open = OpenExchanges(self.config)
        self.recent = self._open.recent
        """Open exchanges in their order, without those that last or wait for their turn."""
        self.on_closed: Callable[[], None] | None = None
        """Called when an exchange has ended."""
        self.error_response: ErrorResponse = _problem_response
        """Returns status, headers and body of the response to an unexpected exception."""

    def add(self, layer: Layer) -> None:
        """Add a layer; no effect if it is there already."""
        if layer not in self._layers:
            self._layers = sorted((*self._layers, layer), key=attrgetter("order"))
            self._chain = _chain(self._layers)
            self.config.layer_types = frozenset(map(type, self._layers))

    def open_exchanges(self) -> set[AnyExchange]:
        """Return the exchanges that are open."""
        return {*self.recent, *self._open.lasting, *self._open.waiting}

    @property
    def open_count(self) -> int:
        """Number of open exchanges."""
        return len(self.recent) + len(self._open.lasting) + len(self._open.waiting)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: C901
        """Serve one request or WebSocket."""
        # In one piece, as each call in here costs every request.
        outer: Exchange | None = scope.get(SCOPE_KEY)  # type: ignore[assignment]  # our own key
        begins, concludes, ends = self._chain if outer is None else self._chain_in(outer)
        router, opened = self._router, self._open
        exchange: AnyExchange
        if scope["type"] == _HTTP:
            exchange = HttpExchange(scope, receive, send, self.config)
            opened.recent[exchange] = None
            if opened.measured_in is not self.config.loop:
                opened.measure(exchange.received_ns)
            method = exchange.facts[0]
            route = None if scope.get("root_path") else router.routes.get((scope.get("raw_path"), method))
            exchange.route = route = router.find(scope) if route is None else route
            if method == "HEAD":
                exchange.omit_body()
        else:
            exchange = WebSocketExchange(scope, receive, send, self.config)
            opened.lasting[exchange] = None
            exchange.route = router.find(scope)
        if outer is not None:
            exchange.mount(outer)
        scope[SCOPE_KEY] = exchange  # type: ignore[typeddict-unknown-key]  # our own key
        error: BaseException | None = None
        handler: ASGIApp | None = None
        left = iter(begins)
        is_begun = False
        try:
            for begin in left:
                begin(exchange)
            is_begun = True
            is_crowded = len(opened.recent) + len(opened.lasting) > opened.crowd
            if outer is None and (opened.is_late or is_crowded):
                await opened.wait_for_turn(exchange)
            if exchange.intercept is None or await exchange.intercept(exchange):
                handler, application = self._exception_handler, self._application
                headers, found = exchange.headers, exchange.route
                if (
                    found is not None and headers.get(b"host") in router.hosts and _is_plain(headers)
                ) or await admit(exchange, router):
                    if found is not None and found.method != exchange.facts[0]:
                        scope["method"] = found.method  # type: ignore[typeddict-unknown-key]  # HTTP
                    if self._is_direct and found is not None:
                        # As Litestar's router does.
                        application, scope["route_handler"], scope["path"] = found[:3]
                        scope["path_params"], scope["path_template"] = found[3:5]
                        ScopeState.from_scope(scope).exception_handlers = found.exception_handlers
                    await application(scope, exchange.receive, exchange.send)
        except BaseException as raised:  # noqa: BLE001  (raised again below, or responded to)
            error = raised
        if not is_begun:
            not_begun = 1 + length_hint(left)
            concludes, ends = concludes[not_begun:], ends[not_begun:]
        if error is not None or exchange.needs_conclusion:
            try:
                error = await self._conclude(exchange, error, handler, concludes)
            except BaseException as raised:  # noqa: BLE001  (raised again below)
                error = raised
        if not exchange.is_complete and exchange.is_withheld:
            # Granian responds with 500 in place of what has only started.
            exchange.status = 500
            error = error or RuntimeError("the application returned before its response was complete")
        exchange.ended_ns = perf_counter_ns()
        for end in ends:
            try:
                end(exchange, error)
            except Exception:
                # The other layers must note the end as well.
                log.exception("layer failed")
        opened.recent.pop(exchange, None)
        opened.lasting.pop(exchange, None)
        if exchange.turn_of is not None:
            opened.release(exchange)
        # Scope and exchange refer to each other; the garbage collector would cost more than all of the above.
        exchange.release()
        if outer is None:
            del scope[SCOPE_KEY]  # type: ignore[typeddict-item]  # our own key
        else:
            scope[SCOPE_KEY] = outer  # type: ignore[typeddict-unknown-key]  # our own key
        if self.on_closed is not None:
            self.on_closed()
        if error is not None:
            raise error

    def _chain_in(self, outer: Exchange) -> "_Chain":
        """Return the layers that apply in an application which is mounted in another one."""
        types: frozenset[type] = frozenset()
        around: Exchange | None = outer
        while around is not None:
            types |= around.config.layer_types
            around = around.outer
        return _chain(
            layer
            for layer in self._layers
            if type(layer) not in types or getattr(layer, "applies_when_mounted", False)
        )

    async def _conclude(
        self,
        exchange: AnyExchange,
        error: BaseException | None,
        handler: ASGIApp | None,
        concludes: "tuple[_Conclude | None, ...]",
    ) -> BaseException | None:
        """Respond to an exception, and clean up; return the exception for the server, if any."""
        exchange.error = exchange.error or error
        if isinstance(error, Exception) and not (
            exchange.is_expired or exchange.is_aborted or exchange.is_dropped
        ):
            error = await _handled(handler, exchange, error)
        for step in (exchange.clean_up, exchange.finish):
            try:
                await step()
            except BaseException as raised:  # noqa: BLE001  (returned)
                error = error or raised
        if exchange.is_aborted:
            # The client has its response; the exception is the effect of the cancellation.
            return None if isinstance(error, (asyncio.CancelledError, Exception)) else error
        if exchange.is_dropped:
            is_alone = exchange.is_cancelled_by_deadline_alone()
            return None if is_alone and isinstance(error, (asyncio.CancelledError, Exception)) else error
        for conclude in concludes:
            if conclude is not None:
                error = await conclude(exchange, error)
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
        app.response_class = app.response_class or JsonResponse
        pipeline = Pipeline(app)
        app.asgi_handler = app.state[_STATE_KEY] = pipeline
    return pipeline


_Begin = Callable[[Any], None]
_Conclude = Callable[[Any, BaseException | None], Awaitable[BaseException | None]]
_End = Callable[[Any, BaseException | None], None]
_Chain = tuple[tuple[_Begin, ...], tuple[_Conclude | None, ...], tuple[_End, ...]]


def _chain(layers: Iterable[Layer]) -> _Chain:
    """Return the functions of layers in the order of the calls."""
    inward = tuple(layers)
    outward = inward[::-1]
    concludes = tuple(getattr(layer, "conclude", None) for layer in outward)
    return tuple(layer.begin for layer in inward), concludes, tuple(layer.end for layer in outward)


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


def _problem_response(exchange: Exchange, error: Exception) -> tuple[int, list[Header], bytes]:
    problem: dict[str, Any] = {"type": "about:blank", "title": "Internal Server Error", "status": 500}
    if isinstance(error, HTTPException) and error.status_code < 500:
        problem = {"type": "about:blank", "status": error.status_code, "detail": error.detail}
    else:
        kind = type(error)
        name = (
            kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
        )
        log.error("request failed", error_type=name, exc_info=error)
        # Later layers must not log it again.
        exchange.scope.setdefault("state", {})["error_type"] = name
    body = json.dumps(problem, separators=(",", ":")).encode()
    length = str(len(body)).encode()
    headers = [(b"content-type", b"application/problem+json"), (b"content-length", length)]
    return problem["status"], headers, body
