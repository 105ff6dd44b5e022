"""Server spans of requests: their attributes, set when they are read or the request has ended."""

from typing import Any

from opentelemetry.trace import Span, StatusCode
from starkeel_asgi import Exchange

from .._request.request import LONGEST_HEADER, OTHER, Failure, Key, are_plain, clock_offset_ns, target_of
from . import server_attributes as encoding
from .otlp_encoding import encode_span
from .server_attributes import request_attributes, response_attributes, span_name
from .span import RecordedSpan, exception_attributes


class ServerSpan(RecordedSpan):
    """The span of a request, whose attributes are built only if they are read or changed.

    It refers to the facts of the exchange, not to the exchange itself, which it may outlive.
    """

    # As in `Exchange`.
    facts: tuple[Any, ...]
    headers: dict[bytes, bytes]
    received_ns: int
    _key: Key | None = None

    @property
    def attributes(self) -> dict[str, Any]:
        """Current attributes, built on first access."""
        made = self._attributes
        if made is None:
            self.is_modified = True
            made = self._attributes = request_attributes(self.facts, self.headers)
            if self._key is not None:
                made.update(response_attributes(self._key, self.facts[3]))
        return made

    def end(self, end_time: int | None = None) -> None:
        """End the span early, before its request has ended."""
        self.start_ns = self.start_ns or self.received_ns + clock_offset_ns()
        super().end(end_time)

    def complete(self, key: Key, error_type: str | None, times: tuple[int, int]) -> None:
        """Set the outcome and end the span, unless it has ended before.

        `times` are start and end of the request in nanoseconds since 1970.
        """
        if self.end_ns:
            return
        method, route, _ = key
        if error_type is None and not self.is_modified and method != OTHER:
            self._key = key
            self.name = span_name(method, route)
        else:
            if route is not None or not self.name:
                self.name = span_name(method, route)
            self.attributes.update(response_attributes(key, self.facts[3]))
            if error_type is not None:
                self.attributes["error.type"] = error_type
                self.set_status(StatusCode.ERROR)
        self.start_ns, self.end_ns = times
        self.output.on_end(self)

    def encode(self) -> bytes:
        """Return the span as an OTLP message."""
        key, facts, headers = self._key, self.facts, self.headers
        if key is None:
            return encode_span(self)
        path, peer = facts[1], facts[3]
        host = headers.get(b"host", b"")[:LONGEST_HEADER]
        shared = encoding.encode_shared(key, host, target_of(facts), is_parent_remote=self.is_parent_remote)
        if self.parent:
            shared += b"\x22\x08" + self.parent
        client = encoding.encode_client(peer and peer[0], headers.get(b"user-agent", b"")[:LONGEST_HEADER])
        path = path if are_plain([path]) else encoding.clean_path(path)
        return encoding.encode_message(self.ids, self.start_ns, self.end_ns, shared, client, path)


def encode_ended(span: RecordedSpan) -> bytes:
    """Encode a span that has ended as an OTLP message."""
    return span.encode() if isinstance(span, ServerSpan) else encode_span(span)


def end_span(span: Span, exchange: Exchange, key: Key, failure: Failure | None) -> bytes:
    """Complete and end the span of a request that has ended, our own or that of the application's provider.

    Returns:
        Trace id, 16 bytes, and span id, 8 bytes; empty if the span has none.
    """
    offset_ns = clock_offset_ns()
    if isinstance(span, ServerSpan):
        if failure is not None and failure.exception is not None:
            span.record_exception(failure.exception)
        error_type = None if failure is None else failure.error_type
        span.complete(key, error_type, (exchange.received_ns + offset_ns, exchange.ended_ns + offset_ns))
        return span.ids
    if span.is_recording():
        _complete(span, exchange, key, failure)
    span.end(exchange.ended_ns + offset_ns)
    context = span.get_span_context()
    if not context.is_valid:
        return b""
    return context.trace_id.to_bytes(16, "big") + context.span_id.to_bytes(8, "big")


def _complete(span: Span, exchange: Exchange, key: Key, failure: Failure | None) -> None:
    method, route, _ = key
    if route is not None:
        span.update_name(span_name(method, route))
    span.set_attributes(response_attributes(key, exchange.facts[3]))
    if failure is None:
        return
    span.set_attribute("error.type", failure.error_type)
    # Without a description: the exception's message may contain personal data.
    span.set_status(StatusCode.ERROR)
    if failure.exception is not None:
        span.add_event("exception", exception_attributes(failure.exception))
