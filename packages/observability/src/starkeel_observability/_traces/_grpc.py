"""Spans over OTLP/gRPC, for those who have the extra `starkeel-observability[grpc]`."""

import importlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from ._sending import Outcome, rejected_spans

_METHOD: Final = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
_RETRYABLE: Final = frozenset(
    ["CANCELLED", "DEADLINE_EXCEEDED", "ABORTED", "OUT_OF_RANGE", "UNAVAILABLE", "DATA_LOSS"]
)
"""As OTLP/gRPC says; `RESOURCE_EXHAUSTED` only with a delay that the collector asks for."""
_RETRY_INFO: Final = re.compile(rb"type\.googleapis\.com/google\.rpc\.RetryInfo")


class GrpcSender:
    """Sends over one channel.

    Args:
        url: Where to; `https` for TLS.
        headers: Sent along.
        compresses: Whether by gzip.
        ca_file: Certificates to trust instead of the system's.
    """

    def __init__(
        self, url: str, headers: Mapping[str, str], *, compresses: bool, ca_file: Path | None
    ) -> None:
        # Named by a text: its types are there only where the extra is.
        self._grpc: Any = importlib.import_module("grpc")
        grpc, parts = self._grpc, urlsplit(url)
        target = f"{parts.hostname}:{parts.port or 4317}"
        if parts.scheme == "https":
            trusted = None if ca_file is None else ca_file.read_bytes()
            channel = grpc.secure_channel(target, grpc.ssl_channel_credentials(trusted))
        else:
            channel = grpc.insecure_channel(target)
        self._metadata = tuple(headers.items())
        self._compression = grpc.Compression.Gzip if compresses else grpc.Compression.NoCompression
        # Bytes in, bytes out: they are messages already.
        self._export = channel.unary_unary(_METHOD)

    def __call__(self, body: bytes, *, timeout_s: float) -> Outcome:
        """Send once."""
        try:
            answer = self._export(
                body, timeout=timeout_s, metadata=self._metadata, compression=self._compression
            )
        except self._grpc.RpcError as error:
            return self._failed(error)
        return Outcome(rejected=rejected_spans(answer))

    @staticmethod
    def _failed(error: Any) -> Outcome:
        name: str = error.code().name
        details = dict(error.trailing_metadata() or ()).get("grpc-status-details-bin", b"")
        is_asked_to_wait = name == "RESOURCE_EXHAUSTED" and _RETRY_INFO.search(details) is not None
        return Outcome(name, is_worth_retrying=name in _RETRYABLE or is_asked_to_wait)
