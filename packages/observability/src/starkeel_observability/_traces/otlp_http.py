"""OTLP/HTTP sender based on `http.client`."""

import base64
import gzip
import http.client
import ssl
from contextlib import suppress
from typing import Final
from urllib.parse import unquote, urlsplit

from starkeel_config import parse_retry_after

from .._config.settings import TelemetrySettings
from .export_result import BACKOFF, ExportResult, rejected_spans

_RETRYABLE: Final = frozenset({429, 502, 503, 504})
"""From the OTLP specification."""
_MAX_RESPONSE_BYTES: Final = 64 * 1024
_GZIP_LEVEL: Final = 1
"""Spans are repetitive: higher levels save little."""


class HttpSender:
    """Sends over one persistent connection."""

    def __init__(self, url: str, settings: TelemetrySettings) -> None:
        parts = urlsplit(url)
        self._host = parts.hostname or ""
        self._port = parts.port
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._compresses = settings.compresses
        self._tls = (
            ssl.create_default_context(cafile=settings.certificate) if parts.scheme == "https" else None
        )
        self._headers = {"content-type": "application/x-protobuf", "user-agent": "starkeel-observability"}
        if settings.compresses:
            self._headers["content-encoding"] = "gzip"
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            self._headers["authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        self._headers.update(settings.collector_headers())
        self._connection: http.client.HTTPConnection | None = None

    def __call__(self, body: bytes, *, timeout_s: float) -> ExportResult:
        """Send one request; reconnects if the persistent connection was closed."""
        if self._compresses:
            body = gzip.compress(body, _GZIP_LEVEL)
        was_open = self._connection is not None
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
            return ExportResult(f"{type(error).__name__}: {error}", is_retryable=True)

    def _post(self, body: bytes, timeout_s: float) -> ExportResult:
        connection = self._connect(timeout_s)
        connection.request("POST", self._target, body, self._headers)
        response = connection.getresponse()
        content = response.read(_MAX_RESPONSE_BYTES)
        if not response.isclosed():
            self._close()
        if 200 <= response.status < 300:
            return ExportResult(rejected=rejected_spans(content))
        is_retryable = response.status in _RETRYABLE
        header = response.headers.get("retry-after") if is_retryable else None
        delay_s = parse_retry_after(header, max_s=BACKOFF.cap_s)
        return ExportResult(f"status {response.status}", is_retryable=is_retryable, retry_after_s=delay_s)

    def _connect(self, timeout_s: float) -> http.client.HTTPConnection:
        if self._connection is None:
            self._connection = (
                http.client.HTTPConnection(self._host, self._port, timeout=timeout_s)
                if self._tls is None
                else http.client.HTTPSConnection(self._host, self._port, timeout=timeout_s, context=self._tls)
            )
        elif self._connection.sock is not None:
            self._connection.sock.settimeout(timeout_s)
        return self._connection

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(OSError):
                connection.close()
