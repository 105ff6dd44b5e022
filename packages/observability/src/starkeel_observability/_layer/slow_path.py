"""Report of a request that failed or was slow, or whose span is not our own."""

import asyncio
from typing import Any, Final

import structlog
from starkeel_asgi import HttpExchange, WebSocketExchange

from .._logs.access_line import access_fields
from .._logs.sink import ACCESS_LOGGER
from .._request.request import Failure, Key, SlowPathResult, failure_of, is_health
from .._traces.server_span import end_span

_CLIENT_CLOSED_REQUEST: Final = 499
"""nginx's status for a request whose client did not wait for the response."""
_FORBIDDEN: Final = 403

AnyExchange = HttpExchange | WebSocketExchange

log = structlog.get_logger(__name__)
access_log = structlog.get_logger(ACCESS_LOGGER)


def outcome(exchange: AnyExchange, error: BaseException | None) -> int:
    """Return the status to report."""
    if not exchange.is_event_stream and exchange.client_disconnected:
        return _CLIENT_CLOSED_REQUEST
    if exchange.status:
        return exchange.status
    if isinstance(exchange, WebSocketExchange):
        return _FORBIDDEN if error is None else 500
    # Only a server that stops cancels an application whose client waits.
    return 503 if isinstance(error, asyncio.CancelledError) else 500


def report_slowly(
    exchange: AnyExchange, error: BaseException | None, span: Any, key: Key, *, is_slow: bool
) -> SlowPathResult:
    """Write the lines of a failed or slow request, and end its span, if any."""
    failure = failure_of(exchange, error, key[2])
    needs_line = failure is None and not is_health(exchange) and not is_slow
    if not needs_line:
        _log(exchange, key, failure, is_slow=is_slow)
    if span is None:
        return SlowPathResult(key[2], b"", is_sampled=False, needs_line=needs_line)
    if exchange.is_event_stream:
        # Its duration is the client's choice.
        span.set_attribute("starkeel.is_stream", True)
    ids = end_span(span, exchange, key, failure)
    is_sampled = span.get_span_context().trace_flags.sampled
    return SlowPathResult(key[2], ids, is_sampled, needs_line)


def _log(exchange: AnyExchange, key: Key, failure: Failure | None, *, is_slow: bool) -> None:
    duration_ns = exchange.ended_ns - exchange.received_ns
    fields = access_fields(key, exchange.path, duration_ns, exchange.sent_bytes, exchange.client)
    write = access_log.warning if is_slow else access_log.info
    if failure is not None:
        if failure.must_log:
            log.error("request failed", error_type=failure.error_type, exc_info=failure.exception)
        fields["error_type"] = failure.error_type
        write = access_log.error
    (access_log.debug if is_health(exchange) else write)("request completed", **fields)
