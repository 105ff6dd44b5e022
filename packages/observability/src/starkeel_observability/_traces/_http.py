"""Spans over OTLP/HTTP, with what the standard library has."""

import base64
import gzip
import http.client
import ssl
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from ._sending import Outcome, rejected_spans, retry_after_s

_RETRYABLE: Final = frozenset({429, 502, 503, 504})
"""As OTLP/HTTP says."""
_MOST_ANSWER_BYTES: Final = 64 * 1024
_GZIP_LEVEL: Final = 1
"""Spans repeat themselves: more effort is worth little."""


class HttpSender:
    """Sends over one connection that is kept.

    Args:
        url: Where to.
        headers: Sent along.
        compresses: Whether by gzip.
        ca_file: Certificates to trust instead of the system's.
    """

    def __init__(
        self, url: str, headers: Mapping[str, str], *, compresses: bool, ca_file: Path | None
    ) -> None:
        parts = urlsplit(url)
        self._host = parts.hostname or ""
        self._port = parts.port
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._compresses = compresses
        self._tls = ssl.create_default_context(cafile=ca_file) if parts.scheme == "https" else None
        self._headers = {"content-type": "application/x-protobuf", "user-agent": "starkeel-observability"}
        if compresses:
            self._headers["content-encoding"] = "gzip"
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            self._headers["authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        self._headers.update(headers)
        self._connection: http.client.HTTPConnection | None = None

    def __call__(self, body: bytes, *, timeout_s: float) -> Outcome:
        """Send once; a kept connection that turns out to be closed is opened anew."""
        if self._compresses:
            body = gzip.compress(body, _GZIP_LEVEL)
        was_kept = self._connection is not None
        try:
            try:
                return self._post(body, timeout_s)
            except (ConnectionError, http.client.RemoteDisconnected):
                self._close()
                if not was_kept:
                    raise
                return self._post(body, timeout_s)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self._close()
            return Outcome(f"{type(error).__name__}: {error}", is_worth_retrying=True)

    def _post(self, body: bytes, timeout_s: float) -> Outcome:
        connection = self._opened(timeout_s)
        connection.request("POST", self._target, body, self._headers)
        answer = connection.getresponse()
        content = answer.read(_MOST_ANSWER_BYTES)
        if not answer.isclosed():
            self._close()
        if 200 <= answer.status < 300:
            return Outcome(rejected=rejected_spans(content))
        is_retryable = answer.status in _RETRYABLE
        after_s = retry_after_s(answer.headers.get("retry-after")) if is_retryable else None
        return Outcome(f"status {answer.status}", is_worth_retrying=is_retryable, after_s=after_s)

    def _opened(self, timeout_s: float) -> http.client.HTTPConnection:
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
