"""A span and a log record as they are kept: what lists need, and the rest as encoded bytes."""

from typing import Final

import msgspec

SPAN_OVERHEAD_BYTES: Final = 520
"""Memory of a kept span beside its encoded bytes, as measured with CPython 3.11."""
LOG_OVERHEAD_BYTES: Final = 420
ERROR: Final = 17
"""First severity number of errors (OpenTelemetry's data model of logs)."""
SERVER: Final = 2
CONSUMER: Final = 5
CLIENT: Final = 3
KINDS: Final = ("unspecified", "internal", "server", "client", "producer", "consumer")


class SpanRecord(msgspec.Struct, frozen=True, gc=False):
    """A span."""

    trace_id: bytes
    span_id: bytes
    parent_id: bytes
    service: str
    name: str
    kind: int
    """Place in `KINDS`."""
    start_ns: int
    end_ns: int
    is_failed: bool
    status: int
    """Status of the HTTP response; 0 if there is none."""
    route: str
    """Method and route of an HTTP request, or the name of the span."""
    path: str
    """Path of an HTTP request that a service received; empty if it is none."""
    statement: str
    """Text of a database statement; empty if it is none."""
    is_stream: bool
    """Whether its duration is that of a connection, not of an answer."""
    raw: bytes
    """The span as a message of `opentelemetry-proto`, with its values shortened."""

    @property
    def duration_ns(self) -> int:
        """Return the duration; clocks that were set back count as none."""
        return max(0, self.end_ns - self.start_ns)

    @property
    def size_bytes(self) -> int:
        """Return the memory that it takes, approximately."""
        return SPAN_OVERHEAD_BYTES + len(self.raw) + len(self.path)

    @property
    def is_root_like(self) -> bool:
        """Return whether it is a request to a service or a message that was received."""
        return self.kind in {SERVER, CONSUMER}


class LogRecord(msgspec.Struct, gc=False):
    """A log record."""

    time_ns: int
    service: str
    severity: int
    """1 to 24, as in OpenTelemetry; 0 if it is not known."""
    level: str
    message: str
    trace_id: bytes
    span_id: bytes
    fields: bytes
    """JSON object of all other fields."""
    number: int = 0
    """Position in the order of arrival, from 1; set by the store."""

    @property
    def size_bytes(self) -> int:
        """Return the memory that it takes, approximately."""
        return LOG_OVERHEAD_BYTES + len(self.message) + len(self.fields)
