"""A span that is recorded: OpenTelemetry's interface over plain attributes."""

import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, NamedTuple

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

from starkeel_observability._logs._redact import HIDDEN, is_secret, masked

from . import _encode

MOST: Final = 128
"""Attributes, events and links of a span, each: the specification's default."""
_LONGEST: Final = 32_768
SAMPLED: Final = 1
RANDOM_ID: Final = 2
"""The flag of a trace whose id is random: the caller's, and passed on."""

Event = tuple[int, str, dict[str, Any], int]
"""Nanoseconds since 1970, name, attributes, how many attributes were dropped."""


class Scope:
    """Who makes spans: a library, by its name and version."""

    __slots__ = ("attributes", "name", "schema_url", "version")

    def __init__(self, name: str, version: str, schema_url: str, attributes: Attributes) -> None:
        self.name = name
        self.version = version
        self.schema_url = schema_url
        self.attributes = dict(attributes or {})


Finished = Callable[["RecordedSpan"], None]
Put = Callable[[Scope, list[bytes]], None]


class Origin(NamedTuple):
    """Where spans come from, and where they go.

    Attributes:
        scope: Who makes them.
        finished: Called with each when it ends.
        put: Takes several as OTLP's messages in place of that; none where spans themselves are wanted.
    """

    scope: Scope
    finished: "Finished"
    put: "Put | None" = None


class RecordedSpan(Span):
    """A span of ours, from its start to its end.

    Args:
        origin: Who makes it, and who takes it when it ends.
        name: What it is called so far.
        kind: As OpenTelemetry's.
        ids: Of its trace, 16 bytes, then its own, 8 bytes.
        attributes: Its own from now on, fit to be sent.
        start_ns: Since 1970.
    """

    # What most spans leave as it is stands here once instead of in each of them.
    end_ns = 0
    parent = b""
    is_parent_remote = False
    flags = SAMPLED
    trace_state: TraceState = DEFAULT_TRACE_STATE
    status = StatusCode.UNSET
    description: str | None = None
    events: list[Event] | None = None
    links: list[Link] | None = None
    dropped = dropped_events = dropped_links = 0
    is_touched = False
    """Whether somebody has said something about it since it began, or ended it."""
    _context: SpanContext | None = None

    on_exception: tuple[bool, bool]
    """Whether an exception that ends its block is recorded, and makes it a failure; set only to deviate."""

    def __init__(
        self,
        origin: Origin,
        name: str,
        kind: SpanKind,
        *,
        ids: bytes,
        attributes: dict[str, Any] | None,
        start_ns: int,
    ) -> None:
        self.origin = origin
        self.name = name
        self.kind = kind
        self.ids = ids
        self.start_ns = start_ns
        self._attributes = attributes

    @property
    def trace_id(self) -> int:
        """Of 128 bits."""
        return int.from_bytes(self.ids[:16], "big")

    @property
    def span_id(self) -> int:
        """Of 64 bits."""
        return int.from_bytes(self.ids[16:], "big")

    @property
    def parent_id(self) -> int:
        """Of the span that it is a part of; 0 when there is none."""
        return int.from_bytes(self.parent, "big")

    @property
    def attributes(self) -> dict[str, Any]:
        """What is said about it so far; its own, to be changed by whoever completes it."""
        self.is_touched = True
        if self._attributes is None:
            self._attributes = {}
        return self._attributes

    def belong(self, parent: SpanContext) -> None:
        """Make it a part of what called."""
        self.parent = parent.span_id.to_bytes(8, "big")
        self.is_parent_remote = parent.is_remote
        if parent.trace_state:
            self.is_touched = True
            self.trace_state = parent.trace_state
        self.flags |= parent.trace_flags & RANDOM_ID

    def encoded(self) -> bytes:
        """It as OTLP's message, once it has ended."""
        return _encode.span(self)

    def end(self, end_time: int | None = None) -> None:
        """End it, once; it is sent if somebody takes it."""
        if not self.end_ns:
            self.is_touched = True
            self.end_ns = time.time_ns() if end_time is None else end_time
            self.origin.finished(self)

    def get_span_context(self) -> SpanContext:
        """What is passed on."""
        # Made when it is asked for first: most spans are passed on to nobody.
        context = self._context
        if context is None:
            context = self._context = SpanContext(
                self.trace_id, self.span_id, False, TraceFlags(self.flags), self.trace_state
            )
        return context

    def is_recording(self) -> bool:
        """Whether it has not ended."""
        return not self.end_ns

    def set_attribute(self, key: str, value: AttributeValue) -> None:
        """Say something about it; secrets and personal data are hidden."""
        if self.end_ns or not key or value is None:
            return
        attributes = self.attributes
        if key not in attributes and len(attributes) >= MOST:
            self.dropped += 1
            return
        attributes[key] = cleaned(key, value)

    def set_attributes(self, attributes: Mapping[str, Any]) -> None:
        """Say several things about it."""
        for key, value in attributes.items():
            self.set_attribute(key, value)

    def add_event(self, name: str, attributes: Attributes = None, timestamp: int | None = None) -> None:
        """Say that something happened during it."""
        if self.end_ns:
            return
        self.is_touched = True
        if self.events is None:
            self.events = []
        if len(self.events) >= MOST:
            self.dropped_events += 1
            return
        told, dropped = cleaned_all(attributes)
        self.events.append((time.time_ns() if timestamp is None else timestamp, name, told, dropped))

    def add_link(self, context: SpanContext, attributes: Attributes = None) -> None:
        """Link it to a span of elsewhere."""
        if self.end_ns or not context.is_valid:
            return
        self.is_touched = True
        if self.links is None:
            self.links = []
        if len(self.links) >= MOST:
            self.dropped_links += 1
            return
        self.links.append(Link(context, cleaned_all(attributes)[0]))

    def update_name(self, name: str) -> None:
        """Call it something else."""
        if not self.end_ns:
            self.is_touched = True
            self.name = name

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """Say whether it went well; what was said to have gone well stays so."""
        if isinstance(status, Status):
            description = status.description
            code = status.status_code
        else:
            code = status
        if self.end_ns or self.status is StatusCode.OK or code is StatusCode.UNSET:
            return
        self.is_touched = True
        self.status = code
        is_told = code is StatusCode.ERROR and description
        self.description = masked(description[:_LONGEST]) if is_told and description else None

    def record_exception(
        self,
        exception: BaseException,
        attributes: Attributes = None,
        timestamp: int | None = None,
        escaped: bool = False,
    ) -> None:
        """Add an exception as an event, without personal data."""
        from starkeel_observability._logs._event import told_exception

        del escaped
        told = told_exception((type(exception), exception, exception.__traceback__))
        self.add_event(
            "exception",
            {
                "exception.type": told["type"],
                "exception.message": told["message"],
                "exception.stacktrace": told["stack"],
                **(attributes or {}),
            },
            timestamp,
        )

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        """End it, and tell what was raised."""
        del exc_tb  # the exception has it
        if isinstance(exc_val, Exception) and not self.end_ns:
            # There only where somebody wanted something else.
            records, sets_status = getattr(self, "on_exception", (True, True))
            if records:
                self.record_exception(exc_val)
            if sets_status:
                self.set_status(StatusCode.ERROR, f"{type(exc_val).__name__}: {exc_val}")
        self.end()


def cleaned_all(attributes: Attributes) -> tuple[dict[str, Any], int]:
    """Attributes fit to be sent, and how many are too many."""
    if not attributes:
        return {}, 0
    kept: dict[str, Any] = {}
    for key, value in attributes.items():
        if key and value is not None and len(kept) < MOST:
            kept[key] = cleaned(key, value)
    return kept, len(attributes) - len(kept)


def cleaned(key: str, value: Any) -> Any:
    """A value that will not change any more, without secrets and personal data."""
    if is_secret(key):
        return HIDDEN
    if type(value) is str:
        return masked(value[:_LONGEST])
    if isinstance(value, (bool, int, float, bytes)):
        return value
    if isinstance(value, Sequence) and not isinstance(value, str):
        return tuple(cleaned("", item) for item in value[:MOST])
    if isinstance(value, Mapping):
        return {str(name): cleaned(str(name), item) for name, item in value.items()}
    return masked(str(value)[:_LONGEST])
