"""Limits for open event streams and WebSockets, which no rate limits."""

import time
from collections import Counter as Counts
from functools import partial
from inspect import signature
from typing import Final, Literal

import structlog
from litestar.exceptions import ServiceUnavailableException, TooManyRequestsException
from litestar.handlers import BaseRouteHandler, HTTPRouteHandler, WebsocketRouteHandler
from litestar.response import ServerSentEvent
from prometheus_client import Counter, Gauge
from starkeel_asgi import HttpExchange, WebSocketExchange

from .._streams.event_stream import EventStream
from .._streams.open_streams import OpenStreams

log = structlog.get_logger(__name__)

AnyExchange = HttpExchange | WebSocketExchange
Reason = Literal["address", "user", "total", "origin"]

OPEN = Gauge("open_streams", "Open event streams and WebSockets.", ["kind"], multiprocess_mode="livesum")
REFUSED = Counter(
    "stream_refusals",
    "Event streams and WebSockets that were refused, by exceeded limit or as the origin is not allowed.",
    ["kind", "reason"],
)
_KINDS: Final = ("event_stream", "websocket")
_REASONS: Final[tuple[Reason, ...]] = ("address", "user", "total", "origin")
_TYPES: Final = {EventStream, ServerSentEvent}
_QUIET_S: Final = 10.0
"""Seconds without a refusal from which a limit is no longer exceeded."""
_RETRY_S: Final = "10"

for _kind in _KINDS:
    OPEN.labels(_kind)
    for _reason in _REASONS:
        REFUSED.labels(_kind, _reason)


def is_stream(handler: BaseRouteHandler) -> bool:
    """Return whether a handler serves WebSockets or event streams."""
    if not isinstance(handler, HTTPRouteHandler):
        return isinstance(handler, WebsocketRouteHandler)
    returned = signature(handler.fn).return_annotation
    is_annotated = returned in _TYPES or returned in {each.__name__ for each in _TYPES}
    return is_annotated or str(handler.media_type).startswith("text/event-stream")


class StreamLimits:
    """Counts the open streams of addresses and users in this worker.

    Args:
        per_address: Maximum number of one client address.
        per_user: Maximum number of one user.
        open_streams: Watches those that are counted.
    """

    def __init__(self, *, per_address: int, per_user: int, open_streams: OpenStreams) -> None:
        self._open_streams = open_streams
        self._limits: dict[Reason, int] = {"address": per_address, "user": per_user}
        self._open: Counts[tuple[Reason, str]] = Counts()
        self._refused_at: dict[Reason, float] = {}
        self._refused: Counts[Reason] = Counts()

    def count(self, exchange: AnyExchange, reason: Literal["address", "user"], key: str) -> None:
        """Count a stream until it ends.

        Raises:
            TooManyRequestsException: The address or user has too many.
            ServiceUnavailableException: All clients together have too many.
        """
        kind = _KINDS[isinstance(exchange, WebSocketExchange)]
        self._log_ends()
        is_exempt = reason == "address" and exchange.config.is_trusted_peer(exchange.client or "")
        if not is_exempt and self._open[reason, key] >= self._limits[reason]:
            self._record(kind, reason, self._limits[reason])
            raise TooManyRequestsException(
                f"The {reason} has {self._limits[reason]} open streams already. Close one of them.",
                headers={"Retry-After": _RETRY_S},
            )
        if reason == "address":
            total = exchange.config.max_streams
            if total is not None and self._open["total", ""] >= total:
                self._record(kind, "total", total)
                raise ServiceUnavailableException(
                    "The service has too many open streams.", headers={"Retry-After": _RETRY_S}
                )
            self._add(exchange, "total", "")
            OPEN.labels(kind).inc()
            exchange.add_cleanup(partial(_decrement, kind))
            self._open_streams.add(exchange)
        self._add(exchange, reason, key)

    def _add(self, exchange: AnyExchange, reason: Reason, key: str) -> None:
        self._open[reason, key] += 1
        exchange.add_cleanup(partial(self._remove, reason, key))

    async def _remove(self, reason: Reason, key: str) -> None:
        self._open[reason, key] -= 1
        if not self._open[reason, key]:
            del self._open[reason, key]

    def _record(self, kind: str, reason: Reason, limit: int) -> None:
        REFUSED.labels(kind, reason).inc()
        self._refused[reason] += 1
        if reason not in self._refused_at:
            log.warning("stream limit exceeded", reason=reason, limit=limit)
        self._refused_at[reason] = time.monotonic()

    def _log_ends(self) -> None:
        for reason, at in list(self._refused_at.items()):
            if time.monotonic() - at > _QUIET_S:
                del self._refused_at[reason]
                log.info("stream limit no longer exceeded", reason=reason, refused=self._refused.pop(reason))


async def _decrement(kind: str) -> None:
    OPEN.labels(kind).dec()
