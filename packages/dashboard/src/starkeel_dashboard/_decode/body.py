"""Body of an OTLP request, as protobuf or JSON, as a message."""

import base64
import json
import zlib
from typing import Any, Final, TypeVar

from google.protobuf.json_format import ParseDict, ParseError  # type: ignore[import-untyped]
from google.protobuf.message import DecodeError, Message  # type: ignore[import-untyped]

PROTOBUF: Final = "application/x-protobuf"
JSON: Final = "application/json"
_HEX_IDS: Final = frozenset(("traceId", "spanId", "parentSpanId", "trace_id", "span_id", "parent_span_id"))
_MAX_DEPTH: Final = 64
_GZIP: Final = 31

M = TypeVar("M", bound=Message)


class InvalidBodyError(Exception):
    """A body that is no OTLP request; the message is the response."""


class BodyTooLargeError(Exception):
    """A body that is larger than allowed after decompression."""


def decompress(body: bytes, encoding: str, *, max_bytes: int) -> bytes:
    """Return a body without its content coding.

    Args:
        body: Body as received.
        encoding: Value of `Content-Encoding`; empty or `identity` for none.
        max_bytes: Largest result.

    Raises:
        InvalidBodyError: The coding is not supported, or the body is not in it.
        BodyTooLargeError: The result is larger.
    """
    if encoding in {"", "identity"}:
        return body
    if encoding not in {"gzip", "deflate"}:
        raise InvalidBodyError(f"Content-Encoding {encoding[:40]!r} is not supported: send gzip or none")
    reader = zlib.decompressobj(_GZIP if encoding == "gzip" else zlib.MAX_WBITS)
    try:
        plain = reader.decompress(body, max_bytes + 1)
    except zlib.error as error:
        raise InvalidBodyError(f"the body is not in {encoding}: {error}") from error
    if len(plain) > max_bytes:
        raise BodyTooLargeError(f"the body is larger than {max_bytes} bytes after decompression")
    if not reader.eof:
        raise InvalidBodyError(f"the body ends before its {encoding} stream")
    return plain


def decode(body: bytes, content_type: str, message: M) -> M:
    """Fill a message with a body and return it.

    Args:
        body: Body without a content coding.
        content_type: Its media type.
        message: Empty message of the expected type.

    Raises:
        InvalidBodyError: The body is not of this type.
    """
    name = message.DESCRIPTOR.name
    try:
        if content_type == PROTOBUF:
            message.ParseFromString(body)
        else:
            _parse_json(body, message)
    except DecodeError as error:
        raise InvalidBodyError(f"the body is no {name} in protobuf: {error}") from error
    except (ParseError, ValueError, RecursionError, TypeError) as error:
        raise InvalidBodyError(f"the body is no {name} in JSON: {str(error)[:300]}") from error
    return message


def _parse_json(body: bytes, message: Message) -> None:
    parsed = json.loads(body)
    if not isinstance(parsed, dict):
        raise InvalidBodyError("the JSON of the body is not an object")
    ParseDict(_with_base64_ids(parsed, _MAX_DEPTH), message, ignore_unknown_fields=True)


def _with_base64_ids(value: Any, depth: int) -> Any:
    """Return parsed JSON with the ids in base64, as protobuf's JSON expects; OTLP has them in hexadecimal."""
    if depth == 0:
        raise InvalidBodyError("the JSON of the body is nested too deeply")
    if isinstance(value, list):
        return [_with_base64_ids(item, depth - 1) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        name: _to_base64(name, item)
        if name in _HEX_IDS and isinstance(item, str)
        else _with_base64_ids(item, depth - 1)
        for name, item in value.items()
    }


def _to_base64(name: str, text: str) -> str:
    try:
        return base64.b64encode(bytes.fromhex(text)).decode()
    except ValueError as error:
        raise InvalidBodyError(f"`{name}` is not hexadecimal: {text[:40]!r}") from error
