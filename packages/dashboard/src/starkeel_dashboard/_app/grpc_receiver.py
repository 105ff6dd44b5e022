"""OTLP over gRPC, with the extra `grpc`."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, NoReturn

from google.protobuf.message import Message  # type: ignore[import-untyped]
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from .guard import has_bearer
from .receiver import Receiver

_SERVICE: Final = "opentelemetry.proto.collector.{0}.v1.{1}Service"
_STOP_S: Final = 1.0


class GrpcError(Exception):
    """The port cannot be opened; the message is for the user."""


@asynccontextmanager
async def grpc_server(
    receiver: Receiver, address: str, *, token: str, max_bytes: int
) -> AsyncGenerator[None]:
    """Receive OTLP over gRPC until the block ends.

    Args:
        receiver: Keeps what arrives.
        address: Host and port.
        token: Token that requests need; empty for none.
        max_bytes: Largest request.

    Raises:
        GrpcError: The extra is not installed, or the port is in use.
    """
    try:
        import grpc.aio  # type: ignore[import-untyped]
    except ImportError as error:
        raise GrpcError("OTLP over gRPC needs the extra: install starkeel-dashboard[grpc]") from error
    # Without the option, a second dashboard would share the port and take half of the requests.
    options = [("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", max_bytes)]
    server = grpc.aio.server(options=options)

    def handler(name: str, kind: type[Message], add: Callable[[Any], Message]) -> Any:
        async def export(request: Any, context: Any) -> Any:
            metadata = dict(context.invocation_metadata() or ())
            if token and not has_bearer(str(metadata.get("authorization", "")), token):
                await _refuse(context, grpc.StatusCode.UNAUTHENTICATED)
            return add(request)

        method = grpc.unary_unary_rpc_method_handler(
            export,
            request_deserializer=kind.FromString,
            response_serializer=lambda reply: reply.SerializeToString(),
        )
        service = _SERVICE.format(name.lower(), name.title())
        return grpc.method_handlers_generic_handler(service, {"Export": method})

    server.add_generic_rpc_handlers(
        (
            handler("trace", ExportTraceServiceRequest, receiver.add_traces),
            handler("logs", ExportLogsServiceRequest, receiver.add_logs),
            handler("metrics", ExportMetricsServiceRequest, receiver.add_metrics),
        )
    )
    try:
        server.add_insecure_port(address)
    except RuntimeError as error:
        raise GrpcError(
            f"cannot listen on {address} for gRPC; choose another port: --grpc-port 4319"
        ) from error
    await server.start()
    try:
        yield
    finally:
        await server.stop(_STOP_S)


async def _refuse(context: Any, code: Any) -> NoReturn:
    await context.abort(code, "no valid token: send the header fields that were printed at the start")
    raise AssertionError("`abort` raises")
