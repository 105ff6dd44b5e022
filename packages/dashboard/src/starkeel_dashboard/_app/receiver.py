"""OTLP over HTTP: traces, logs and metrics as protobuf or JSON."""

from collections.abc import Callable
from typing import Any, Final

from google.protobuf.json_format import MessageToJson  # type: ignore[import-untyped]
from google.protobuf.message import Message  # type: ignore[import-untyped]
from litestar import MediaType, Request, Response, post
from litestar.handlers import HTTPRouteHandler
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from .._decode.body import JSON, PROTOBUF, BodyTooLargeError, InvalidBodyError, decode, decompress
from .._decode.logs import count_logs, read_logs
from .._decode.metrics import add_metrics
from .._decode.spans import count_spans, read_spans
from .._store.store import Store

_TOO_MANY: Final = "more arrived in this second than are accepted; the limit is an option of the dashboard"
AnyRequest = Request[Any, Any, Any]


class _RefusedError(Exception):
    def __init__(self, status: int, problem: str) -> None:
        super().__init__(problem)
        self.status = status


class Receiver:
    """Receives requests, as many at a time as their bodies fit the limits of the store.

    Args:
        store: Where the records are kept.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._pending_bytes = 0

    def handlers(self) -> list[HTTPRouteHandler]:
        """Return the handlers of the three signals."""

        @post("/v1/traces", status_code=200, request_max_body_size=None)
        async def traces(request: AnyRequest) -> Response[bytes]:
            return await self._answer(request, ExportTraceServiceRequest, self.add_traces)

        @post("/v1/logs", status_code=200, request_max_body_size=None)
        async def logs(request: AnyRequest) -> Response[bytes]:
            return await self._answer(request, ExportLogsServiceRequest, self.add_logs)

        @post("/v1/metrics", status_code=200, request_max_body_size=None)
        async def metrics(request: AnyRequest) -> Response[bytes]:
            return await self._answer(request, ExportMetricsServiceRequest, self.add_metrics)

        return [traces, logs, metrics]

    async def _answer(
        self, request: AnyRequest, kind: type[Any], add: Callable[[Any], Message]
    ) -> Response[bytes]:
        content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if content_type not in {PROTOBUF, JSON}:
            return _refusal(415, f"Content-Type {content_type[:60]!r} is not {PROTOBUF} or {JSON}", JSON)
        held: list[int] = []
        try:
            body = await self._read(request, held)
            message = add(decode(body, content_type, kind()))
        except _RefusedError as error:
            return _refusal(error.status, str(error), content_type)
        except BodyTooLargeError as error:
            return _refusal(413, str(error), content_type)
        except InvalidBodyError as error:
            return _refusal(400, str(error), content_type)
        finally:
            self._pending_bytes -= sum(held)
        return _response(200, message, content_type)

    async def _read(self, request: AnyRequest, held: list[int]) -> bytes:
        """Return the body; what it takes while it is received is added to `held`."""
        limits, chunks, size = self._store.limits, [], 0
        async for chunk in request.stream():
            size += len(chunk)
            if size > limits.body_bytes:
                raise BodyTooLargeError(f"the body is larger than {limits.body_bytes} bytes")
            if self._pending_bytes + len(chunk) > limits.pending_bytes:
                self._store.refused_requests += 1
                raise _RefusedError(503, "too many requests are being received; retry later")
            held.append(len(chunk))
            self._pending_bytes += len(chunk)
            chunks.append(chunk)
        encoding = request.headers.get("content-encoding", "").strip().lower()
        return decompress(b"".join(chunks), encoding, max_bytes=limits.body_bytes)

    def add_traces(self, request: ExportTraceServiceRequest) -> Message:
        """Keep spans and return the response."""
        shed = self._store.add_spans(read_spans(request), count_spans(request))
        response = ExportTraceServiceResponse()
        if shed:
            response.partial_success.rejected_spans = shed
            response.partial_success.error_message = _TOO_MANY
        return response

    def add_logs(self, request: ExportLogsServiceRequest) -> Message:
        """Keep log records and return the response."""
        shed = self._store.add_logs(read_logs(request), count_logs(request))
        response = ExportLogsServiceResponse()
        if shed:
            response.partial_success.rejected_log_records = shed
            response.partial_success.error_message = _TOO_MANY
        return response

    def add_metrics(self, request: ExportMetricsServiceRequest) -> Message:
        """Keep metrics and return the response."""
        for service in add_metrics(request, self._store.metrics):
            self._store.seen(service)
        self._store.changes.notify()
        return ExportMetricsServiceResponse()


def _refusal(status: int, problem: str, content_type: str) -> Response[bytes]:
    # The same fields as google.rpc.Status, which `opentelemetry-proto` does not contain: message is number 2.
    response = _response(status, Status(message=problem), content_type)
    if status == 503:
        response.headers["Retry-After"] = "1"
    return response


def _response(status: int, message: Message, content_type: str) -> Response[bytes]:
    is_json = content_type == JSON
    body = MessageToJson(message).encode() if is_json else message.SerializeToString()
    return Response(body, status_code=status, media_type=MediaType.JSON if is_json else PROTOBUF)
