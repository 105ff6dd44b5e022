"""The middleware of routes with an `Idempotency-Key`: keeps their answers, and gives them again."""

from collections.abc import Callable
from typing import Any, Final

from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Message, Receive, Scope, Send
from litestar.utils.scope.state import ScopeState

from ._idempotency import FLIGHT, AnswerStore, Flight

_FIRST_ERROR: Final = 400


class IdempotentAnswers(ASGIMiddleware):
    """Holds a route's answer back until it is kept, in the unit of work that commits when it starts.

    Args:
        store: What keeps answers, once the application has started.
    """

    scopes = (ScopeType.HTTP,)

    def __init__(self, store: Callable[[], AnswerStore]) -> None:
        self._store = store
        self._flying: set[bytes] = set()

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """Serve one request."""
        flight = Flight(self._store(), self._flying)
        scope["state"][FLIGHT] = flight
        try:
            await next_app(scope, receive, _Answer(scope, send, flight).send)
        finally:
            flight.end()
            scope["state"].pop(FLIGHT, None)


class _Answer:
    """One answer on its way out."""

    __slots__ = ("_body", "_flight", "_scope", "_send", "_start")

    def __init__(self, scope: Scope, send: Send, flight: Flight) -> None:
        self._scope = scope
        self._send = send
        self._flight = flight
        self._start: Any = None
        self._body = b""

    async def send(self, sent: Message) -> None:
        message: Any = sent
        kind = message["type"]
        if kind == "http.response.start" and (self._flight.kept or message["status"] < _FIRST_ERROR):
            self._start, self._body = message, b""
        elif kind == "http.response.body" and self._start is not None:
            self._body += message.get("body", b"")
            if not message.get("more_body", False):
                await self._finish()
        else:
            self._start = None
            await self._send(message)

    async def _finish(self) -> None:
        start, body, kept = self._start, self._body, self._flight.kept
        self._start = None
        if kept is not None:
            start, body = {**start, "status": kept.status, "headers": kept.headers}, kept.body
        else:
            await self._keep(start, body)
        await self._send(start)
        await self._send({"type": "http.response.body", "body": body, "more_body": False})

    async def _keep(self, start: Any, body: bytes) -> None:
        try:
            await self._flight.keep(
                self._scope, status=start["status"], headers=start.get("headers", ()), body=body
            )
        except Exception:
            # Nothing was sent yet: Litestar may still answer with the error.
            ScopeState.from_scope(self._scope).response_started = False
            raise
