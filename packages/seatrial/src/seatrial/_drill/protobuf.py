"""Fields of a protobuf message, without its schema: enough for the few messages of OTLP that are read."""

import struct
from collections.abc import Iterator

_FIXED = {1: 8, 5: 4}


class WireError(ValueError):
    """Bytes that are no protobuf message."""


def fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield number and value of each field: a number for varints, else the bytes.

    Raises:
        WireError: The message is malformed.
    """
    position = 0
    while position < len(data):
        tag, position = _varint(data, position)
        kind = tag & 7
        if kind == 0:
            value, position = _varint(data, position)
            yield tag >> 3, value
            continue
        if kind == 2:
            size, position = _varint(data, position)
        elif kind in _FIXED:
            size = _FIXED[kind]
        else:
            raise WireError(f"wire type {kind} at {position}")
        if position + size > len(data):
            raise WireError(f"a field of {size} bytes ends after the message")
        yield tag >> 3, data[position : position + size]
        position += size


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if position >= len(data) or shift > 63:
            raise WireError(f"a number that does not end at {position}")
        byte = data[position]
        position += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, position


def text(value: int | bytes) -> str:
    """Return a field of text."""
    if isinstance(value, int):
        raise WireError("a number where text is expected")
    return value.decode("utf-8", "replace")


def message(value: int | bytes) -> bytes:
    """Return a field that is a message, or bytes."""
    if isinstance(value, int):
        raise WireError("a number where a message is expected")
    return value


def number(value: int | bytes) -> int:
    """Return a field that is a number of variable length."""
    if isinstance(value, bytes):
        raise WireError("bytes where a number is expected")
    return value


def signed(value: int | bytes) -> int:
    """Return a field of type int64."""
    unsigned = number(value)
    return unsigned - (1 << 64) if unsigned >> 63 else unsigned


def double(value: int | bytes) -> float:
    """Return a field of type double."""
    data = message(value)
    if len(data) != 8:
        raise WireError("a double of another size")
    return float(struct.unpack("<d", data)[0])
