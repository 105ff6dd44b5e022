"""Why an event stream or a WebSocket ends, as its client receives it."""

import json
from functools import cache
from typing import Final, NamedTuple


class StreamEnd(NamedTuple):
    """Reason for which the service ends an event stream or a WebSocket.

    Args:
        code: Close code of a WebSocket (RFC 6455, 7.4).
        reason: Reason of the close frame, at most 123 bytes.
    """

    code: int
    reason: str


SERVICE_RESTART: Final = StreamEnd(1012, "service restart")
_SEPARATORS: Final = (b"\n\n", b"\r\n\r\n", b"\r\r")


@cache
def end_event(end: StreamEnd) -> bytes:
    """Return the last event of an event stream: its type is `end`, its data has code and reason as JSON.

    It has no `id`, so that a client resumes after the last event before it.
    """
    data = json.dumps(end._asdict(), separators=(",", ":"))
    return f"event: end\r\ndata: {data}\r\n\r\n".encode()


def is_between_events(part: bytes) -> bool:
    """Return whether another event may follow this part of an event stream."""
    return part.endswith(_SEPARATORS)
