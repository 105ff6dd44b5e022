"""The messages of a client: the request body, then its disconnect."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from litestar.exceptions import ClientException, HTTPException
from litestar.exceptions.http_exceptions import RequestEntityTooLarge
from litestar.types import Receive

from .stream_end import SERVICE_RESTART, StreamEnd, end_event, is_between_events

_DISCONNECT: Final = {"type": "http.disconnect"}
_RECEIVE_DROP_S: Final = 0.01
_BROKEN: Final = "The body is incomplete or malformed."
_MAX_AHEAD_BYTES: Final = 65_536
"""Size of a body up to which it is read before the application receives it."""
_LATE: Final = "The body did not arrive within {:g} seconds."
TOO_LARGE: Final = "The body is larger than the {} bytes that are accepted."


class Incoming:
    """Receives for an application, and can listen for the disconnect while the application does not receive.

    ASGI reports a disconnect only to an application that calls `receive`, which few do.

    Args:
        receive: The server's.
        max_bytes: Size from which a body is refused; `None` for no limit.
        timeout_s: Seconds that the client may keep the application waiting for the body; `None` for no limit.
    """

    __slots__ = (
        *("_ahead", "_ended", "_is_receiving", "_left_s", "_loop", "_max_bytes", "_reading", "_receive"),
        *("_is_body_received", "_received", "_timeout_s", "ended_by", "is_answered", "is_body_read"),
        *("is_disconnected", "is_reading_body", "is_too_large", "kept", "last_sent", "must_close"),
        *("on_disconnect", "on_over"),
    )

    def __init__(
        self,
        receive: Receive,
        loop: asyncio.AbstractEventLoop,
        *,
        max_bytes: int | None,
        timeout_s: float | None,
    ) -> None:
        self._receive = receive
        self._loop = loop
        self._max_bytes = max_bytes
        self._timeout_s = self._left_s = timeout_s
        self._received = 0
        self._ahead: deque[Any] = deque()
        self._reading: asyncio.Future[Any] | None = None
        self._ended: asyncio.Future[None] | None = None
        self._is_receiving = False
        self._is_body_received = self.is_body_read = self.is_disconnected = self.is_too_large = False
        self.must_close = False
        """Whether the rest of the body must not be taken for the next request."""
        self.is_answered = False
        """Whether the response has started: an error could not be responded to."""
        self.on_disconnect: Callable[[], None] | None = None
        """Called when the client has disconnected while this listened."""
        self.on_over: Callable[[], None] | None = None
        """Called when the client has disconnected while this listened, or the stream must end."""
        self.ended_by: StreamEnd | None = None
        """Why the stream must end."""
        self.last_sent: bytes | None = None
        """Last part of an event stream."""
        self.is_reading_body = False
        """Whether the application waits for the body."""
        self.kept: list[Any] | None = None
        """Body messages received so far, for `rewind`; `None` unless they are kept."""

    async def receive(self) -> Any:
        """Receive the next message, as the server's `receive`.

        Raises:
            HTTPException: With 408 when the body did not arrive in time, with 400 if its end never will: the
                client disconnected or closed its side, or the chunks are malformed. Servers report all of
                these as a disconnect, but still send the response where the connection is open.
            RequestEntityTooLarge: The body is larger than `max_bytes`.
        """
        if not self._ahead:
            if self.is_body_read:
                await self._wait(None)
            else:
                await self._wait_for_body()
        message = self._ahead.popleft()
        if message["type"] != "http.request":
            if not (self._is_body_received or self.is_answered or message is _DISCONNECT):
                raise ClientException(_BROKEN)
            self.is_disconnected = self.is_disconnected or message is not _DISCONNECT
            return message
        self.is_body_read = not message.get("more_body", False)
        if self.kept is not None:
            self.kept.append(message)
        if self._max_bytes is not None:
            self._received += len(message.get("body", b""))
            if self._received > self._max_bytes:
                self.is_too_large = True
                raise RequestEntityTooLarge(TOO_LARGE.format(self._max_bytes))
        return message

    def listen(self) -> bool:
        """Listen for the disconnect in the background; return whether this needs no second call."""
        if self._is_receiving:
            return False
        if self._reading is None:
            self._read_ahead()
        return True

    def stop(self) -> None:
        """Stop listening."""
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None

    def end(self, why: StreamEnd = SERVICE_RESTART) -> None:
        """Report a disconnect to the application, although the client is still connected."""
        self.ended_by = self.ended_by or why
        if self._ended is None:
            self._ended = self._loop.create_future()
        if not self._ended.done():
            self._ended.set_result(None)
            if self.on_over is not None:
                self.on_over()
        # Granian holds a lock while it receives; nothing could be sent meanwhile.
        self.stop()

    def listen_for_end(self, callback: Callable[[], None]) -> None:
        """Have a function called when the client has disconnected or the stream must end."""
        self.on_over = callback
        self.listen()
        if self.ended_by is not None or self.is_disconnected:
            callback()

    def last_event(self) -> bytes:
        """Return the event with the reason of the end; empty in the middle of another event."""
        if self.last_sent is not None and not is_between_events(self.last_sent):
            return b""
        return end_event(self.ended_by or SERVICE_RESTART)

    def rewind(self) -> None:
        """Deliver the kept body again."""
        if self.kept:
            self._ahead.extendleft(reversed(self.kept))
            self.kept = []
            self._received = 0
            self.is_body_read = False

    async def discard(self, *, max_bytes: int) -> None:
        """Read and drop the rest of the body: a client cut off while sending may lose the response."""
        taken = 0
        while taken <= max_bytes:
            if self._reading is not None:
                await self._wait(None)
            message: Any = self._ahead.popleft() if self._ahead else await self._receive()
            taken += len(message.get("body", b""))
            if message["type"] != "http.request" or not message.get("more_body", False):
                return

    async def _wait_for_body(self) -> None:
        self.is_reading_body = True
        began = time.monotonic()
        try:
            wait = self._receive_directly if self._reading is None else self._wait
            is_late = not await wait(self._left_s)
        finally:
            if self._left_s is not None:
                self._left_s = max(0.0, self._left_s - (time.monotonic() - began))
        if is_late:
            self.must_close = True
            # A second call must not wait again.
            self._left_s = 0.0
            raise HTTPException(_LATE.format(self._timeout_s or 0.0), status_code=408)
        # Still set where this was cancelled: a deadline that passes here is the client's fault.
        self.is_reading_body = False

    async def _receive_directly(self, timeout_s: float | None) -> bool:
        """Receive without a task, as most bodies arrive at once; return whether a message came in time."""
        # As `asyncio.timeout`, which costs several times as much.
        task: Any = asyncio.current_task(self._loop)
        cancelling = task.cancelling()
        has_fired = False

        def fire() -> None:
            nonlocal has_fired
            has_fired = True
            task.cancel()

        timer = None if timeout_s is None else self._loop.call_later(timeout_s, fire)
        self._is_receiving = True
        try:
            self._arrived(await self._receive())
        except BaseException as error:
            is_late = has_fired and task.uncancel() <= cancelling
            if not is_late or not isinstance(error, asyncio.CancelledError):
                raise
            # Granian keeps the connection open if the response starts before it has dropped this receive.
            await asyncio.sleep(_RECEIVE_DROP_S)
            return False
        finally:
            self._is_receiving = False
            if timer is not None:
                timer.cancel()
        return True

    async def _wait(self, timeout_s: float | None) -> bool:
        """Wait until a message is there; return whether it came within the timeout."""
        if self._ended is None:
            self._ended = self._loop.create_future()
        while not self._ahead:
            if self._ended.done():
                self._ahead.append(_DISCONNECT)
                return True
            if self._reading is None:
                self._read()
            reading: Any = self._reading
            # Not awaited directly: if this call were cancelled, a message could be lost.
            done, _ = await asyncio.wait(
                {reading, self._ended}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED
            )
            if not done:
                return False
            if reading in done and not reading.cancelled() and (error := reading.exception()) is not None:
                raise error
        return True

    def _read(self) -> None:
        # A task: what Granian's `receive` returns takes one callback only.
        self._reading = reading = asyncio.ensure_future(self._receive_one())
        reading.add_done_callback(self._on_read)

    async def _receive_one(self) -> Any:
        return await self._receive()

    def _on_read(self, reading: "asyncio.Future[Any]") -> None:
        if self._reading is reading:
            self._reading = None
        if reading.cancelled() or reading.exception() is not None:
            return
        message = reading.result()
        # A server that repeats the end of the body would be read for ever.
        is_new = not self._is_body_received
        self._arrived(message)
        if message["type"] == "http.request" and is_new and self._reading is None:
            # The disconnect follows the body; the application may read the body before.
            self._read_ahead()

    def _read_ahead(self) -> None:
        is_over = self.is_disconnected or self.must_close
        if not is_over and sum(len(m.get("body", b"")) for m in self._ahead) < _MAX_AHEAD_BYTES:
            self._read()

    def _arrived(self, message: Any) -> None:
        self._ahead.append(message)
        if message["type"] == "http.request":
            self._is_body_received = not message.get("more_body", False)
        elif self._is_body_received:
            self.is_disconnected = True
            for notify in (self.on_disconnect, self.on_over):
                if notify is not None:
                    notify()
        else:
            self.must_close = True
