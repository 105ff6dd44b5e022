"""OTLP/gRPC sender; requires the extra `starkeel-observability[grpc]`."""

import importlib
import re
from typing import Any, Final
from urllib.parse import urlsplit

from .._config.settings import TelemetrySettings
from .export_result import ExportResult, rejected_spans

_METHOD: Final = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
_RETRYABLE: Final = frozenset(
    ["CANCELLED", "DEADLINE_EXCEEDED", "ABORTED", "OUT_OF_RANGE", "UNAVAILABLE", "DATA_LOSS"]
)
"""From the OTLP specification; `RESOURCE_EXHAUSTED` is retryable only with a `RetryInfo`."""
_RETRY_INFO: Final = re.compile(rb"type\.googleapis\.com/google\.rpc\.RetryInfo")


class GrpcSender:
    """Sends over one channel."""

    def __init__(self, url: str, settings: TelemetrySettings) -> None:
        # By name: its types are available only with the extra.
        self._grpc: Any = importlib.import_module("grpc")
        grpc, parts = self._grpc, urlsplit(url)
        target = f"{parts.hostname}:{parts.port or 4317}"
        if parts.scheme == "https":
            trusted = None if settings.certificate is None else settings.certificate.read_bytes()
            channel = grpc.secure_channel(target, grpc.ssl_channel_credentials(trusted))
        else:
            channel = grpc.insecure_channel(target)
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
            return self._failure(error)
        return ExportResult(rejected=rejected_spans(response))

    @staticmethod
    def _failure(error: Any) -> ExportResult:
        name: str = error.code().name
        details = dict(error.trailing_metadata() or ()).get("grpc-status-details-bin", b"")
        has_retry_info = name == "RESOURCE_EXHAUSTED" and _RETRY_INFO.search(details) is not None
        return ExportResult(name, is_retryable=name in _RETRYABLE or has_retry_info)
