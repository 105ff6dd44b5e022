"""What happens to orders, told to their owners while they listen."""

import time
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from typing import Annotated, Literal
from uuid import UUID

import anyio
import msgspec
import structlog
from litestar.channels import ChannelsPlugin, Subscriber
from litestar.channels.backends.base import ChannelsBackend
from litestar.exceptions import ServiceUnavailableException
from msgspec import Meta
from redis.exceptions import RedisError

from .messages import OrderView

log = structlog.get_logger(__name__)

_MAX_UNSENT = 1000
_MAX_UNPUBLISHED = 10_000
_GOODBYE_S = 2.0
_PAUSE_S = 1.0

Kind = Literal["order.created", "order.changed", "order.cancelled"]


class OrderEvent(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened to an order."""

    id: Annotated[str, Meta(description="Opaque; handed back as `Last-Event-ID`.")]
    type: Kind
    order: OrderView


_decoder = msgspec.json.Decoder(OrderEvent)


class _Listener(Subscriber):
    """One who listens; too slow a one is sent away to come back with `Last-Event-ID`, not silently robbed."""

    def put_nowait(self, item: bytes | None) -> bool:
        if super().put_nowait(item):
            return True
        while not self._queue.empty():
            self._queue.get_nowait()
        self._queue.put_nowait(None)
        return False

    async def next(self) -> bytes | None:
        """Wait for the next event; None is the end."""
        return await self._queue.get()


class Feed:
    """The events of one user: first those missed, then each as it happens."""

    def __init__(self, listener: _Listener, missed: list[OrderEvent]) -> None:
        self._listener = listener
        self._missed = missed
        # Listening starts before the history is read: an event in between comes both ways.
        self._replayed = {event.id for event in missed}

    async def events(self, *, heartbeat_s: float, until: float) -> AsyncGenerator[OrderEvent | None]:
        """Yield events until there is a reason to come anew.

        Args:
            heartbeat_s: Seconds without an event after which None is yielded instead.
            until: When the listener's leave ends, in seconds since 1970.
        """
        for event in self._missed:
            yield event
        while (remaining_s := until - time.time()) > 0:
            payload, is_late = None, True
            with anyio.move_on_after(min(heartbeat_s, remaining_s)):
                payload, is_late = await self._listener.next(), False
            if is_late:
                yield None
            elif payload is None:
                return
            elif (event := _decoder.decode(payload)).id not in self._replayed:
                yield event


class OrderEvents(ChannelsPlugin):
    """Publishes events to, and subscribes to, one channel a user.

    Events are a courtesy: whatever becomes of one, the order stands.
    """

    def __init__(self, backend: ChannelsBackend, *, is_shared: bool) -> None:
        super().__init__(
            backend,
            arbitrary_channels_allowed=True,
            subscriber_max_backlog=_MAX_UNSENT,
            subscriber_class=_Listener,
        )
        self._is_shared = is_shared

    def features(self) -> Iterable[tuple[str, bool, str]]:
        """Say for the start report whether other processes' events are seen."""
        why = (
            "by Redis"
            if self._is_shared
            else "REDIS_URL is not set: a client sees its own worker's events only"
        )
        yield "events between processes", self._is_shared, why

    def tell(self, user_id: UUID, kind: Kind, order: OrderView, *, version: int) -> None:
        """Publish soon, without waiting.

        Args:
            user_id: The owner.
            kind: What happened.
            order: As it is since.
            version: Its version, which makes the event's id.
        """
        if self._pub_queue is None or self._pub_queue.qsize() >= _MAX_UNPUBLISHED:
            log.warning("order event dropped", kind=kind, order_id=str(order.id))
            return
        self.publish(_event(kind, order, version), _channel(user_id))

    @asynccontextmanager
    async def following(self, user_id: UUID, *, last_event_id: str | None) -> AsyncGenerator[Feed]:
        """Listen to a user's events.

        Args:
            user_id: Whose.
            last_event_id: What the client saw last: everything after it that is remembered comes first.
                If it is not remembered itself, more was missed than is: then everything remembered comes.

        Raises:
            ServiceUnavailableException: Redis is away.
        """
        channel = _channel(user_id)
        try:
            listener = await self._listen(channel)
        except (RedisError, OSError) as error:
            raise _unavailable(error) from error
        try:
            missed = await self._missed(channel, last_event_id)
            yield Feed(listener, missed)
        finally:
            with anyio.move_on_after(_GOODBYE_S, shield=True):
                await self._leave(channel, listener)

    async def _sub_worker(self) -> None:
        # Litestar's stops for good at the first error. Those who listen are sent away, so that they come back
        # with what they saw last instead of waiting for events that were lost.
        while True:
            try:
                await super()._sub_worker()
            except (RedisError, OSError) as error:
                log.warning("event stream interrupted", error=str(error))
                for channel in list(self._channels):
                    self._send_away(channel)
                await anyio.sleep(_PAUSE_S)

    def _send_away(self, channel: str) -> None:
        for listener in self._channels.pop(channel, set()):
            listener.put_nowait(None)

    async def _missed(self, channel: str, last_event_id: str | None) -> list[OrderEvent]:
        if last_event_id is None:
            return []
        try:
            remembered = [_decoder.decode(entry) for entry in await self._backend.get_history(channel)]
        except (RedisError, OSError) as error:
            raise _unavailable(error) from error
        seen = next((i for i, event in enumerate(remembered) if event.id == last_event_id), -1)
        return remembered[seen + 1 :]

    async def _listen(self, channel: str) -> _Listener:
        listeners = self._channels.setdefault(channel, set())
        listener = _Listener(self, max_backlog=_MAX_UNSENT)
        listeners.add(listener)
        if len(listeners) == 1:
            try:
                await self._backend.subscribe([channel])
            except BaseException:
                # Those who joined meanwhile relied on this one call: let them try again.
                self._send_away(channel)
                raise
        return listener

    async def _leave(self, channel: str, listener: Subscriber) -> None:
        listeners = self._channels.get(channel, set())
        listeners.discard(listener)
        if not listeners and self._channels.pop(channel, None) is not None:
            try:
                await self._backend.unsubscribe([channel])
            except (RedisError, OSError) as error:
                log.warning("events not unsubscribed", error=str(error))


def _event(kind: Kind, order: OrderView, version: int) -> bytes:
    return msgspec.json.encode(OrderEvent(id=f"{order.id}:{version}", type=kind, order=order))


def _channel(user_id: UUID) -> str:
    return f"orders:{user_id}"


def _unavailable(error: Exception) -> ServiceUnavailableException:
    log.warning("events not to be had", error=str(error) or type(error).__name__)
    return ServiceUnavailableException("Events cannot be had at the moment.", headers={"Retry-After": "5"})
