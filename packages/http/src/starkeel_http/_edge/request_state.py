"""One request or WebSocket, as it passes the edge."""

from typing import Any, Final, cast

from litestar.exceptions.http_exceptions import RequestEntityTooLarge
from litestar.types import Message, Receive, Scope, Send

from .._base.headers import Header, with_security_headers
from .._base.route_options import Policy
from .._rate_limit.limiter import RateLimitResult, rate_limit_headers
from .deadline import Deadline

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
        deadline: When its time is over.
    """

    # Defaults on the class: what no request needs costs none anything.
    cors: tuple[Header, ...] = ()
    limited: tuple[RateLimitResult, ...] = ()
    is_started = False
    is_complete = False
    is_reading = False
    is_too_large = False
    client_has_gone = False
    _is_body_read = False
    _count = 0

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, *, policy: Policy, deadline: Deadline
    ) -> None:
        self.scope = scope
        # The router changes what stands in the scope.
        self.path: str = scope["path"]
        self.policy = policy
        self.deadline = deadline
        self._receive = receive
        self._send = send

    async def receive(self) -> Any:
        """As the server's own, but a body that is too large is not handed on.

        Raises:
            RequestEntityTooLarge: It is.
        """
        self.is_reading = not self._is_body_read
        message: Any = await self._receive()
        self.is_reading = False
        if message["type"] == "http.request":
            self._is_body_read = not message.get("more_body", False)
            self._count += len(message.get("body", b""))
            limit = self.policy.max_body_bytes
            if limit is not None and self._count > limit:
                self.is_too_large = True
                raise RequestEntityTooLarge(TOO_LARGE.format(limit))
        elif message["type"] == "http.disconnect":
            self.client_has_gone = True
        return message

    async def send(self, message: Message) -> None:
        """As the server's own, but answers get our headers, and nothing starts after the deadline.

        Raises:
            DeadlinePassed: The deadline is over.
        """
        if self.deadline.is_over:
            raise DeadlinePassed
        kind = message["type"]
        if kind == "http.response.start":
            await self._send(self._start(cast("Any", message)))
        elif kind == "http.response.body":
            await self._send(message)
            if not message.get("more_body", False):
                self.is_complete = True
                # What goes on in the background is nothing that anybody waits for.
                self._lift_deadline()
        else:
            if kind == "websocket.accept":
                self.is_started = True
                self._lift_deadline()
            elif kind == "websocket.close":
                message = _without_details(cast("Any", message))
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
        await self._send(
            cast("Any", _without_details({"type": "websocket.close", "code": code, "reason": reason}))
        )

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
        for name, value in headers:
            if name == b"content-type" and value.startswith(b"text/event-stream"):
                self._lift_deadline()
        self.is_started = True
        return {**message, "headers": self._completed(headers)}

    def _completed(self, headers: list[Header]) -> list[Header]:
        if self.limited:
            headers += rate_limit_headers(self.limited)
        return with_security_headers(headers, is_secure=self.scope["scheme"] == "https", more=self.cors)

    def _lift_deadline(self) -> None:
        self.deadline.lift()
        self.scope["state"].pop("deadline", None)


def _without_details(message: dict[str, Any]) -> Any:
    """Tell a WebSocket's client that something failed, not what."""
    reason = str(message.get("reason") or "")
    if message.get("code") == _FAILED:
        reason = "Internal Server Error"
    return {**message, "reason": reason.encode()[:_LONGEST_REASON].decode(errors="ignore")}
