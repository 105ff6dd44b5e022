"""Senders of spans: OTLP/HTTP based on `http.client`, and OTLP/gRPC."""

import base64
import gzip
import http.client
import importlib
import re
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final, Protocol
from urllib.parse import unquote, urlsplit

from msgspec import Struct
from starkeel_config import Backoff, parse_retry_after

from .._config.settings import TelemetrySettings

_MAX_RESPONSE_BYTES: Final = 64 * 1024
_MEDIA_TYPE: Final = "application/x-protobuf"
_GZIP_LEVEL: Final = 1
"""Spans are repetitive: higher levels save little."""
# As over HTTP: a proxy for requests to other sites must not receive spans.
_GRPC_OPTIONS: Final = (("grpc.enable_http_proxy", 0),)
_METHOD: Final = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
# From the OTLP specification; `RESOURCE_EXHAUSTED` is retryable only with a `RetryInfo`.
_RETRYABLE_STATUSES: Final = frozenset({429, 502, 503, 504})
_RETRYABLE_CODES: Final = frozenset(
    ["CANCELLED", "DEADLINE_EXCEEDED", "ABORTED", "OUT_OF_RANGE", "UNAVAILABLE", "DATA_LOSS"]
)
_RETRY_INFO: Final = re.compile(rb"type\.googleapis\.com/google\.rpc\.RetryInfo")
BACKOFF: Final = Backoff(base_s=1.0, cap_s=60.0, jitter=0.5)
"""Pauses between attempts; a longer `Retry-After` is cut to `cap_s`."""


class ExportResult(Struct, frozen=True):
    """Result of one attempt.

    Attributes:
        error: Description of the error; `None` after success.
        is_retryable: Whether a later attempt may succeed.
        retry_after_s: Delay in seconds that the collector requested.
        rejected: Number of sent spans that the collector rejected.
    """

    error: str | None = None
    is_retryable: bool = False
    retry_after_s: float | None = None
    rejected: int = 0


class Sender(Protocol):
    """Sends an encoded `ExportTraceServiceRequest`; never raises."""

    def __call__(self, body: bytes, *, timeout_s: float) -> ExportResult: ...


class HttpSender:
    """Sends over one persistent connection."""

    def __init__(self, url: str, settings: TelemetrySettings) -> None:
        parts = urlsplit(url)
        host = parts.hostname or ""
        # With the port: without, the end of an IPv6 address would be taken for one.
        self._connection = http.client.HTTPConnection(host, parts.port or http.client.HTTP_PORT)
        if parts.scheme == "https":
            trusted = ssl.create_default_context(cafile=settings.certificate)
            # `SSLKEYLOGFILE` of the environment would write the keys of the connections to a file.
            trusted.keylog_filename = None  # type: ignore[assignment]  # typeshed has no None, which disables it
            self._connection = http.client.HTTPSConnection(
                host, parts.port or http.client.HTTPS_PORT, context=trusted
            )
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._compresses = settings.compresses
        self._headers = {"content-type": _MEDIA_TYPE, "user-agent": "starkeel-observability"}
        if settings.compresses:
            self._headers["content-encoding"] = "gzip"
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            self._headers["authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        self._headers.update(settings.collector_headers())

    def __call__(self, body: bytes, *, timeout_s: float) -> ExportResult:
        """Send one request; reconnects if the persistent connection was closed."""
        if self._compresses:
            body = gzip.compress(body, _GZIP_LEVEL)
        was_open = self._connection.sock is not None
        try:
            try:
                return self._post(body, timeout_s)
            except (ConnectionError, http.client.RemoteDisconnected):
                self._close()
                if not was_open:
                    raise
                return self._post(body, timeout_s)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self._close()
            # The message of an invalid response quotes it.
            reason = f": {error}" if isinstance(error, OSError) else ""
            return ExportResult(f"{type(error).__name__}{reason}", is_retryable=True)

    def _post(self, body: bytes, timeout_s: float) -> ExportResult:
        connection = self._connection
        connection.timeout = timeout_s
        if connection.sock is not None:
            connection.sock.settimeout(timeout_s)
        # Connects if it is closed.
        connection.request("POST", self._target, body, self._headers)
        with _time_limit(connection.sock, timeout_s):
            response = connection.getresponse()
            content = response.read(_MAX_RESPONSE_BYTES)
        is_whole = response.isclosed()
        if not is_whole:
            self._close()
            if len(content) < _MAX_RESPONSE_BYTES:
                raise http.client.IncompleteRead(content)
        if response.status == 200:
            # Other servers than a collector, such as a proxy's login page, respond with 200 as well.
            media_type = response.headers.get_content_type() if content else _MEDIA_TYPE
            if not is_whole or media_type != _MEDIA_TYPE or "content-encoding" in response.headers:
                return ExportResult(f"the response is not of OTLP: {media_type[:100]}, {len(content)} bytes")
            return _accepted(content)
        is_retryable = response.status in _RETRYABLE_STATUSES
        header = response.headers.get("retry-after") if is_retryable else None
        delay_s = parse_retry_after(header, max_s=BACKOFF.cap_s)
        return ExportResult(f"status {response.status}", is_retryable=is_retryable, retry_after_s=delay_s)

    def _close(self) -> None:
        with suppress(OSError):
            self._connection.close()


class GrpcSender:
    """Sends over one channel; requires the extra `starkeel-observability[grpc]`."""

    def __init__(self, url: str, settings: TelemetrySettings) -> None:
        # By name: its types are available only with the extra.
        self._grpc: Any = importlib.import_module("grpc")
        grpc, parts = self._grpc, urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        target = host if parts.port else f"{host.rstrip(':')}:4317"
        if parts.scheme == "https":
            trusted = None if settings.certificate is None else settings.certificate.read_bytes()
            channel = grpc.secure_channel(target, grpc.ssl_channel_credentials(trusted), _GRPC_OPTIONS)
        else:
            channel = grpc.insecure_channel(target, _GRPC_OPTIONS)
        self._metadata = tuple(settings.collector_headers().items())
        self._compression = grpc.Compression.Gzip if settings.compresses else grpc.Compression.NoCompression
        # Without serializers: the messages are encoded already.
        self._export = channel.unary_unary(_METHOD)

    def __call__(self, body: bytes, *, timeout_s: float) -> ExportResult:
        try:
            response = self._export(
                body, timeout=timeout_s, metadata=self._metadata, compression=self._compression
            )
        except self._grpc.RpcError as error:
            name: str = error.code().name
            details = dict(error.trailing_metadata() or ()).get("grpc-status-details-bin", b"")
            has_retry_info = name == "RESOURCE_EXHAUSTED" and _RETRY_INFO.search(details) is not None
            return ExportResult(name, is_retryable=name in _RETRYABLE_CODES or has_retry_info)
        return _accepted(response)


@contextmanager
def _time_limit(connected: socket.socket, seconds: float) -> Iterator[None]:
    """Shut a socket down after a time: its own timeout is that of each piece of a response."""
    timer = threading.Timer(seconds, _shut_down, [connected])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _shut_down(connected: socket.socket) -> None:
    with suppress(OSError):
        connected.shutdown(socket.SHUT_RDWR)


def _accepted(response: bytes) -> ExportResult:
    """Return the result that an `ExportTraceServiceResponse` states."""
    try:
        return ExportResult(rejected=_rejected_spans(response))
    except ValueError as error:
        return ExportResult(f"the response is not of OTLP: {error}")


def _rejected_spans(response: bytes) -> int:
    """Return `partial_success.rejected_spans`, field 1 in field 1.

    Raises:
        ValueError: The response is not a valid message.
    """
    rejected = 0
    for field, partial_success in _fields(response):
        # Another wire type makes it another field, as in any decoder.
        if field == 1 and isinstance(partial_success, bytes):
            for inner, number in _fields(partial_success):
                if inner == 1 and isinstance(number, int):
                    rejected = number
    return rejected


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield number and value of the fields of an encoded message; groups, which are obsolete, are invalid."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        kind = tag & 7
        if kind == 0:
            number, at = _varint(message, at)
            yield tag >> 3, number
            continue
        length = {1: 8, 5: 4}.get(kind)
        if kind == 2:
            length, at = _varint(message, at)
        if length is None or not tag >> 3 or at + length > len(message):
            raise ValueError("it is not an encoded message")
        yield tag >> 3, message[at : at + length]
        at += length


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """Return a number of at most 64 bits, and the position after it."""
    number = 0
    for place, byte in enumerate(message[at : at + 10]):
        number |= (byte & 127) << 7 * place
        if byte < 128:
            return number, at + place + 1
    raise ValueError("it is not an encoded message")
