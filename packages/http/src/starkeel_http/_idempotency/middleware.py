"""The middleware of routes with an `Idempotency-Key`: keeps their answers, and gives them again."""

from collections.abc import Callable
from typing import Any, Final

from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Message, Receive, Scope, Send
from litestar.utils.scope.state import ScopeState

from .key import IN_FLIGHT, IdempotencyStore, InFlightRequest

_FIRST_ERROR: Final = 400


class IdempotencyMiddleware(ASGIMiddleware):
    """Holds a route's answer back until it is kept, in the unit of work that commits when it starts.

    Args:
        store: What keeps answers, once the application has started.
    """

    scopes = (ScopeType.HTTP,)

    def __init__(self, store: Callable[[], IdempotencyStore]) -> None:
        self._store = store
        self._keys_in_flight: set[bytes] = set()

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """Serve one request."""
        in_flight = InFlightRequest(self._store(), self._keys_in_flight)
        scope["state"][IN_FLIGHT] = in_flight
        try:
            await next_app(scope, receive, _Answer(scope, send, in_flight).send)
        finally:
            in_flight.release()
            scope["state"].pop(IN_FLIGHT, None)


class _Answer:
    """One answer on its way out."""

    __slots__ = ("_body", "_in_flight", "_scope", "_send", "_start")

    def __init__(self, scope: Scope, send: Send, in_flight: InFlightRequest) -> None:
        self._scope = scope
        self._send = send
        self._in_flight = in_flight
        self._start: Any = None
        self._body = b""

    async def send(self, sent: Message) -> None:
        message: Any = sent
        kind = message["type"]
        if kind == "http.response.start" and (self._in_flight.stored or message["status"] < _FIRST_ERROR):
            self._start, self._body = message, b""
        elif kind == "http.response.body" and self._start is not None:
            self._body += message.get("body", b"")
            if not message.get("more_body", False):
                await self._finish()
        else:
            self._start = None
            await self._send(message)

    async def _finish(self) -> None:
        start, body, stored = self._start, self._body, self._in_flight.stored
        self._start = None
        if stored is not None:
            start, body = {**start, "status": stored.status, "headers": stored.headers}, stored.body
        else:
            await self._store_response(start, body)
        await self._send(start)
        await self._send({"type": "http.response.body", "body": body, "more_body": False})

    async def _store_response(self, start: Any, body: bytes) -> None:
        try:
            await self._in_flight.store_response(
                self._scope, status=start["status"], headers=start.get("headers", ()), body=body
            )
        except Exception:
            # Nothing was sent yet: Litestar may still answer with the error.
            ScopeState.from_scope(self._scope).response_started = False
            raise
