"""One request or WebSocket, as it passes the edge."""

import asyncio
from typing import Any, Final, cast

from litestar.enums import ScopeType
from litestar.exceptions.http_exceptions import RequestEntityTooLarge
from litestar.types import Message, Receive, Scope, Send

from ._headers import Header, completed
from ._opts import Policy
from ._verdict import Verdict, limit_headers

KEY: Final = "starkeel_http.exchange"
"""Where in `scope["state"]` the exchange stands."""

TOO_LARGE: Final = "The body is larger than the {} bytes that are accepted."
_FAILED: Final = 4500
_LONGEST_REASON: Final = 123
"""Bytes that a close frame has for its reason (RFC 6455, 5.5)."""


class DeadlinePassed(Exception):
    """The time is over and the application sends on: nobody listens any more."""


class Exchange:
    """What the application receives and sends by, and what is known about that.

    Args:
        scope: The connection's.
        receive: The server's.
        send: The server's.
        policy: What applies to the route.
    """

    __slots__ = (
        "_count",
        "_is_plain",
        "_receive",
        "_send",
        "client_has_gone",
        "cors",
        "is_complete",
        "is_reading",
        "is_started",
        "is_too_large",
        "limited",
        "path",
        "policy",
        "scope",
        "timeout",
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send, policy: Policy) -> None:
        self.scope = scope
        # The router changes what stands in the scope.
        self.path: str = scope["path"]
        self.policy = policy
        self.timeout: asyncio.Timeout | None = None
        self.cors: tuple[Header, ...] = ()
        self.limited: list[Verdict] = []
        self.is_started = self.is_complete = self.is_reading = self.is_too_large = self.client_has_gone = (
            False
        )
        self._is_plain = scope["type"] == ScopeType.HTTP
        self._count = 0
        self._receive = receive
        self._send = send

    async def receive(self) -> Any:
        """As the server's own, but a body that is too large is not handed on.

        Raises:
            RequestEntityTooLarge: It is.
        """
        if not self._is_plain:
            return await self._receive()
        self.is_reading = not self.is_started
        message = await self._receive()
        self.is_reading = False
        if message["type"] == "http.disconnect":
            self.client_has_gone = True
        elif message["type"] == "http.request":
            self._count += len(message.get("body", b""))
            limit = self.policy.max_body_bytes
            if limit is not None and self._count > limit:
                self.is_too_large = True
                raise RequestEntityTooLarge(TOO_LARGE.format(limit))
        return message

    async def send(self, message: Message) -> None:
        """As the server's own, but answers get our headers, and nothing starts after the deadline.

        Raises:
            DeadlinePassed: The deadline is over.
        """
        if self.timeout is not None and self.timeout.expired():
            raise DeadlinePassed
        kind = message["type"]
        if kind == "http.response.start":
            message = self._start(cast("Any", message))
        elif kind == "http.response.body":
            if not message.get("more_body", False):
                self.is_complete = True
                # What goes on in the background is nothing that anybody waits for.
                self._lift_deadline()
        elif kind == "websocket.accept":
            self.is_started = True
            self._lift_deadline()
        elif kind == "websocket.close":
            message = _discreet(cast("Any", message))
        await self._send(message)

    async def answer(self, status: int, headers: list[Header], body: bytes) -> None:
        """Send a whole answer of our own, whatever the deadline says."""
        self.is_started = self.is_complete = True
        self._lift_deadline()
        await self._send(
            {"type": "http.response.start", "status": status, "headers": self._completed(headers)}
        )
        await self._send({"type": "http.response.body", "body": body, "more_body": False})

    async def close(self, code: int, reason: str) -> None:
        """Close a WebSocket, or refuse it."""
        self.is_complete = True
        await self._send(cast("Any", _discreet({"type": "websocket.close", "code": code, "reason": reason})))

    async def drain(self, *, most_bytes: int) -> None:
        """Take what else comes in of a body; who is hung up on while sending may lose the answer."""
        taken = 0
        while taken <= most_bytes:
            message: Any = await self._receive()
            taken += len(message.get("body", b""))
            if message["type"] != "http.request" or not message.get("more_body", False):
                return

    def _start(self, message: dict[str, Any]) -> Any:
        headers = list(message.get("headers", ()))
        if _is_event_stream(headers):
            self._lift_deadline()
        self.is_started = True
        return {**message, "headers": self._completed(headers)}

    def _completed(self, headers: list[Header]) -> list[Header]:
        more: tuple[Header, ...] | list[Header] = self.cors
        if self.limited:
            more = [*self.cors, *limit_headers(self.limited)]
        return completed(headers, is_secure=self.scope["scheme"] == "https", more=more)

    def _lift_deadline(self) -> None:
        if self.timeout is not None and not self.timeout.expired():
            self.timeout.reschedule(None)
        self.scope["state"].pop("deadline", None)


def _is_event_stream(headers: list[Header]) -> bool:
    return any(
        value.startswith(b"text/event-stream") for name, value in headers if name.lower() == b"content-type"
    )


def _discreet(message: dict[str, Any]) -> Any:
    """Tell a WebSocket's client that something failed, not what."""
    reason = str(message.get("reason") or "")
    if message.get("code") == _FAILED:
        reason = "Internal Server Error"
    return {**message, "reason": reason.encode()[:_LONGEST_REASON].decode(errors="ignore")}
