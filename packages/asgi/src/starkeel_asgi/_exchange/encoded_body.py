"""Content codings of responses (RFC 9110, 8.4.1)."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Protocol

from .._compat import forget_start
from .config import Header
from .exchange import Exchange

ShapeResponse = Callable[[Any, int, Any, dict[bytes, bytes]], tuple[int, Iterable[Header]]]
"""Receives the exchange, the status of its response, the headers, and these by name; returns the status and
the headers that are sent, and may call `encode_body`."""


class Encoder(Protocol):
    """Encodes the body of one response."""

    async def encode(self, part: bytes, *, is_last: bool) -> bytes:
        """Return the encoded part, complete enough for the client to decode it before the next one."""


class EncodingExchange(Exchange):
    """An exchange whose response may pass through an encoder."""

    __slots__ = ("_encoder", "_held_start", "shape_response")

    shape_response: ShapeResponse | None

    def encode_body(self, encoder: Encoder) -> None:
        """Send the body of the response that starts now through an encoder.

        Its start is held back until the first part, as a body of one part has a `Content-Length`.
        """
        self._encoder = encoder
        self._held_start: Any = None
        self._divert = self._send_encoded

    def _shaped(
        self, status: int, given: Iterable[Header], names: dict[bytes, bytes]
    ) -> tuple[int, Iterable[Header]]:
        assert self.shape_response is not None
        try:
            return self.shape_response(self, status, given, names)
        except Exception:
            # Nothing was sent: the application may respond with this error.
            forget_start(self.scope)
            raise

    def _send_start(self, started: Any) -> Awaitable[None]:
        if self._divert is not None:
            return self._divert(started)
        try:
            return self._send(started)
        except Exception:
            # The server refuses a header, and takes another response.
            self._forget_start()
            raise

    async def _send_encoded(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self._held_start = message
            return
        is_last = not message.get("more_body", False)
        try:
            body = await self._encoder.encode(message.get("body", b""), is_last=is_last)
        except BaseException:
            if self._held_start is not None:
                # Nothing was sent: the client can get an error instead.
                self._forget_start()
            raise
        # Bound methods are equal, never identical.
        if self._divert is not None and self._divert != self._send_encoded:
            # The deadline passed, or the service aborted it, while a thread encoded the part.
            await self._divert(message)
            return
        self._divert = None
        if self._held_start is not None:
            start, self._held_start = self._held_start, None
            if is_last:
                length = (b"content-length", b"%d" % len(body))
                start = {**start, "headers": [*start["headers"], length]}
            await self._send_start(start)
        await self.send({**message, "body": body})
        if not is_last and self._divert is None:
            self._divert = self._send_encoded

    def _forget_start(self) -> None:
        self.status = 0
        self._divert = None if self._divert == self._send_encoded else self._divert
        forget_start(self.scope)

    def send(self, message: Any) -> Awaitable[None]:
        """Send a message to the client."""
        raise NotImplementedError
