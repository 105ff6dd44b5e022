"""Recording span: OpenTelemetry's interface over plain attributes."""

import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, NamedTuple

from msgspec import Struct
from opentelemetry.trace import (
    DEFAULT_TRACE_STATE,
    Link,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
)
from opentelemetry.util.types import Attributes, AttributeValue

from .._logs.record import describe_exception
from .._logs.sanitize import HIDDEN, is_secret, mask, mask_repeated

MAX_COUNT: Final = 128
"""Limit for attributes, events and links of a span, each: the specification's default."""
_MAX_LENGTH: Final = 32_768
_MAX_REPEATED: Final = 2048
SAMPLED: Final = 1
RANDOM_ID: Final = 2
"""Trace flag "random trace id" (W3C Trace Context level 2): set by the caller and propagated."""

SpanEvent = tuple[int, str, dict[str, Any], int]
"""Nanoseconds since 1970, name, attributes, number of dropped attributes."""


class InstrumentationScope(Struct, frozen=True, eq=False):
    """Library that creates spans."""

    name: str
    version: str
    schema_url: str
    attributes: Mapping[str, AttributeValue] | None


OnEnd = Callable[["RecordedSpan"], None]
PutEncoded = Callable[[InstrumentationScope, list[bytes]], None]


def discard_encoded(_scope: InstrumentationScope, _encoded: list[bytes]) -> None:
    """Accept encoded spans without an exporter; they need not be encoded."""


class SpanOutput(NamedTuple):
    """Destination of the spans of one instrumentation scope."""

    scope: InstrumentationScope
    on_end: OnEnd
    """Called with every span that has ended."""
    put_encoded: PutEncoded | None = None
    """Accepts several spans as OTLP messages instead; `None` if span objects are required."""


class RecordedSpan(Span):
    """A recording span, created with redacted attributes, which it owns from then on.

    Times are in nanoseconds since 1970; `ids` are the trace id, 16 bytes, and the span id, 8 bytes.
    """

    # Defaults that most spans keep are class attributes, which saves time and memory per span.
    end_ns = 0
    parent = b""
    is_parent_remote = False
    flags = SAMPLED
    trace_state: TraceState = DEFAULT_TRACE_STATE
    status = StatusCode.UNSET
    description: str | None = None
    events: list[SpanEvent] | None = None
    links: list[Link] | None = None
    dropped = dropped_events = dropped_links = 0
    is_modified = False
    """Whether it was changed or ended through this interface since it was created."""
    _context: SpanContext | None = None

    on_exception: tuple[bool, bool]
    """Whether `__exit__` records an exception and sets the error status; absent for the default, both."""

    def __init__(
        self,
        output: SpanOutput,
        name: str,
        kind: SpanKind,
        *,
        ids: bytes,
        attributes: dict[str, Any] | None,
        start_ns: int,
    ) -> None:
        self.output = output
        self.name = name
        self.kind = kind
        self.ids = ids
        self.start_ns = start_ns
        self._attributes = attributes

    @property
    def trace_id(self) -> int:
        return int.from_bytes(self.ids[:16], "big")

    @property
    def span_id(self) -> int:
        return int.from_bytes(self.ids[16:], "big")

    @property
    def parent_id(self) -> int:
        """64-bit span id of the parent; 0 for a root span."""
        return int.from_bytes(self.parent, "big")

    @property
    def attributes(self) -> dict[str, Any]:
        """Current attributes; the span's own dictionary, which subclasses change."""
        self.is_modified = True
        if self._attributes is None:
            self._attributes = {}
        return self._attributes

    @property
    def is_plain(self) -> bool:
        """Whether it has no parent, and was neither changed nor ended since it was created."""
        return not (self.is_modified or self.parent or self.end_ns)

    def set_parent(self, parent: SpanContext) -> None:
        self.parent = parent.span_id.to_bytes(8, "big")
        self.is_parent_remote = parent.is_remote
        if parent.trace_state:
            self.is_modified = True
            self.trace_state = parent.trace_state
        self.flags |= parent.trace_flags & RANDOM_ID

    def end(self, end_time: int | None = None) -> None:
        """End the span and pass it to its output; later calls have no effect."""
        if not self.end_ns:
            self.is_modified = True
            self.end_ns = time.time_ns() if end_time is None else end_time
            self.output.on_end(self)

    def get_span_context(self) -> SpanContext:
        # Created on first use: the context of most spans is never read.
        context = self._context
        if context is None:
            context = self._context = SpanContext(
                self.trace_id, self.span_id, False, TraceFlags(self.flags), self.trace_state
            )
        return context

    def is_recording(self) -> bool:
        return not self.end_ns

    def set_attribute(self, key: str, value: AttributeValue) -> None:
        """Set an attribute; secrets and personal data are redacted."""
        if self.end_ns or not key or value is None:
            return
        attributes = self.attributes
        if key not in attributes and len(attributes) >= MAX_COUNT:
            self.dropped += 1
            return
        attributes[key] = clean_value(key, value)

    def set_attributes(self, attributes: Mapping[str, Any]) -> None:
        for key, value in attributes.items():
            self.set_attribute(key, value)

    def add_event(self, name: str, attributes: Attributes = None, timestamp: int | None = None) -> None:
        """Add an event; `timestamp` is in nanoseconds since 1970."""
        if self.end_ns:
            return
        self.is_modified = True
        if self.events is None:
            self.events = []
        if len(self.events) >= MAX_COUNT:
            self.dropped_events += 1
            return
        kept, dropped = clean_attributes(attributes)
        self.events.append((time.time_ns() if timestamp is None else timestamp, name, kept, dropped))

    def add_link(self, context: SpanContext, attributes: Attributes = None) -> None:
        if self.end_ns or not context.is_valid:
            return
        self.is_modified = True
        if self.links is None:
            self.links = []
        if len(self.links) >= MAX_COUNT:
            self.dropped_links += 1
            return
        self.links.append(Link(context, clean_attributes(attributes)[0]))

    def update_name(self, name: str) -> None:
        if not self.end_ns:
            self.is_modified = True
            self.name = name

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """Set the status; `OK` is final and `UNSET` is ignored, as the specification requires."""
        if isinstance(status, Status):
            description, status = status.description, status.status_code
        if self.end_ns or self.status is StatusCode.OK or status is StatusCode.UNSET:
            return
        self.is_modified = True
        self.status = status
        is_error = status is StatusCode.ERROR
        self.description = mask(description[:_MAX_LENGTH]) if is_error and description else None

    def record_exception(
        self,
        exception: BaseException,
        attributes: Attributes = None,
        timestamp: int | None = None,
        escaped: bool = False,
    ) -> None:
        """Add an exception as an event; personal data is redacted."""
        del escaped
        self.add_event("exception", {**exception_attributes(exception), **(attributes or {})}, timestamp)

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        """End the span and record the exception that was raised in the block."""
        del exc_tb  # an attribute of the exception
        if isinstance(exc_val, Exception) and not self.end_ns:
            records, sets_status = getattr(self, "on_exception", (True, True))
            if records:
                self.record_exception(exc_val)
            if sets_status:
                self.set_status(StatusCode.ERROR, f"{type(exc_val).__name__}: {exc_val}")
        self.end()


def exception_attributes(error: BaseException) -> dict[str, AttributeValue]:
    """Return the attributes of an `exception` event; personal data is redacted."""
    described = describe_exception((type(error), error, error.__traceback__))
    return {
        "exception.type": described["type"],
        "exception.message": described["message"],
        "exception.stacktrace": described["stack"],
    }


def clean_attributes(attributes: Attributes) -> tuple[dict[str, Any], int]:
    """Return redacted attributes and the number of those that were dropped."""
    if not attributes:
        return {}, 0
    kept: dict[str, Any] = {}
    for key, value in attributes.items():
        if key and value is not None and len(kept) < MAX_COUNT:
            kept[key] = clean_value(key, value)
    return kept, len(attributes) - len(kept)


def clean_value(key: str, value: Any) -> Any:
    """Return an immutable copy of a value without secrets and personal data."""
    if is_secret(key):
        return HIDDEN
    if type(value) is str:
        return mask_repeated(value) if len(value) <= _MAX_REPEATED else mask(value[:_MAX_LENGTH])
    if isinstance(value, (bool, int, float, bytes)):
        return value
    if isinstance(value, Sequence) and not isinstance(value, str):
        return tuple(clean_value("", item) for item in value[:MAX_COUNT])
    if isinstance(value, Mapping):
        return {str(name): clean_value(str(name), item) for name, item in value.items()}
    return mask(str(value)[:_MAX_LENGTH])
