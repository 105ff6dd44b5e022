"""A call, and a single attempt at it with its client span."""

import time
from dataclasses import dataclass
from math import floor
from typing import Final, Literal

import anyio
import httpx2
import structlog
from opentelemetry import propagate, trace
from opentelemetry.trace import Span, SpanKind, StatusCode
from opentelemetry.util.types import AttributeValue

from ._compat import RequestTrace
from ._tls import explain

Method = Literal["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"]

TIMEOUT_HEADER: Final = "X-Request-Timeout"
_HOP_S: Final = 0.01
"""Seconds that a response may take from the upstream to the caller; a tenth of a short timeout."""
MAX_RESPONSE_BYTES: Final = 8 * 1024 * 1024
"""Larger responses are rejected: calls between services exchange messages, not files."""

_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
# Not more, although httpx2 may have others: which ones depends on what else is installed.
_ENCODINGS = frozenset({"identity", "gzip", "deflate"})
_TRACER = trace.get_tracer("starkeel_client")
_DEFAULT_PORTS = {"http": 80, "https": 443}
# Headers that describe the body as transferred, not as decoded.
_HOP_HEADERS = ("content-encoding", "content-length", "transfer-encoding", "connection")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A call to an upstream."""

    method: Method
    url: httpx2.URL
    route: str | None
    """Path template, for telemetry."""
    headers: httpx2.Headers
    content: bytes | None
    ends_at: float
    """Deadline in monotonic seconds."""
    is_bound_by_request: bool
    """Whether the deadline is that of the incoming request."""

    @property
    def is_repeatable(self) -> bool:
        """Whether the call may be retried: the method is idempotent, or there is an idempotency key."""
        return self.method in _IDEMPOTENT or "idempotency-key" in self.headers

    def left_s(self) -> float:
        """Return the seconds until the deadline."""
        return self.ends_at - time.monotonic()


@dataclass(frozen=True, slots=True)
class Failure:
    """An attempt without a response."""

    kind: Literal["connection_error", "invalid", "no_connection", "timeout"]
    """`no_connection`: the pool was exhausted; `invalid`: the response cannot be processed."""
    error_type: str
    reason: str | None = None
    """The setting to check, if the cause is known."""


class InvalidResponseError(Exception):
    """The upstream's response cannot be processed."""


async def attempt(
    transport: httpx2.AsyncBaseTransport, call: Call, *, resends: int, connect_timeout_s: float
) -> httpx2.Response | Failure:
    """Make a call once, in its own client span, after `resends` previous attempts.

    Raises:
        httpx2.LocalProtocolError: The caller's headers are invalid.
    """
    name = f"{call.method} {call.route}" if call.route else call.method
    with _TRACER.start_as_current_span(
        name,
        kind=SpanKind.CLIENT,
        attributes=_request_attributes(call, resends),
        record_exception=False,
        set_status_on_exception=False,
    ) as span:
        try:
            outcome = await _outcome(transport, call, connect_timeout_s)
        except BaseException as error:  # usually a cancellation
            _set_error(span, _qualified_name(error))
            raise
        if isinstance(outcome, Failure):
            _set_error(span, outcome.error_type)
            return outcome
        span.set_attribute("http.response.status_code", outcome.status_code)
        if outcome.status_code >= 400:
            _set_error(span, str(outcome.status_code))
        return outcome


async def _outcome(
    transport: httpx2.AsyncBaseTransport, call: Call, connect_timeout_s: float
) -> httpx2.Response | Failure:
    try:
        with anyio.fail_after(max(call.left_s(), 0)):
            trace = RequestTrace(transport, header=TIMEOUT_HEADER, timeout=lambda: _timeout(call))
            return await _exchange(transport, _request(call, connect_timeout_s, trace), trace)
    except TimeoutError:
        return Failure("timeout", "timeout")
    except httpx2.LocalProtocolError:
        raise
    except httpx2.PoolTimeout as error:
        return Failure("no_connection", _qualified_name(error))
    # OSError: httpcore2 does not translate the alert of TLS 1.3 that rejects a client certificate.
    except (httpx2.TransportError, OSError) as error:
        return Failure("connection_error", _qualified_name(error), explain(error))
    except (httpx2.DecodingError, InvalidResponseError) as error:
        return Failure("invalid", _qualified_name(error))


def _request(call: Call, connect_timeout_s: float, trace: RequestTrace) -> httpx2.Request:
    headers = httpx2.Headers({"Accept": "application/json", "Accept-Encoding": "identity"})
    headers.update(call.headers)
    # Override the caller's headers, so that trace, request id and timeout are always propagated.
    propagated: dict[str, str] = {}
    propagate.inject(propagated)
    headers.update(propagated)
    request_id = structlog.contextvars.get_contextvars().get("request_id")
    if isinstance(request_id, str):
        headers["X-Request-ID"] = request_id
    headers[TIMEOUT_HEADER] = _timeout(call)
    # Reads and writes are bounded by the deadline of the whole attempt.
    timeouts = {"connect": connect_timeout_s, "pool": connect_timeout_s, "read": None, "write": None}
    return httpx2.Request(
        call.method,
        call.url,
        headers=headers,
        content=call.content,
        extensions={"timeout": timeouts, "route": call.route, "trace": trace},
    )


def _timeout(call: Call) -> str:
    """Return the seconds that the upstream has to respond."""
    left_s = call.left_s()
    # Less the way of the response. Rounded down: the upstream must not work after the caller has given up.
    return f"{max(floor((left_s - min(_HOP_S, left_s / 10)) * 1000), 1) / 1000:.3f}"


async def _exchange(
    transport: httpx2.AsyncBaseTransport, request: httpx2.Request, trace: RequestTrace
) -> httpx2.Response:
    try:
        response = await transport.handle_async_request(request)
        body = await _read(request, response)
    except BaseException:
        await trace.abandon()
        raise
    headers = [(name, value) for name, value in response.headers.multi_items() if name not in _HOP_HEADERS]
    return httpx2.Response(response.status_code, headers=headers, content=body, request=request)


async def _read(request: httpx2.Request, response: httpx2.Response) -> bytes:
    response.request = request
    try:
        encodings = response.headers.get_list("content-encoding", split_commas=True)
        if request.method != "HEAD" and not _ENCODINGS.issuperset(map(str.lower, encodings)):
            raise InvalidResponseError("the content encoding is unknown")
        body = bytearray()
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > MAX_RESPONSE_BYTES:
                raise InvalidResponseError(f"the response is larger than {MAX_RESPONSE_BYTES} bytes")
        return bytes(body)
    finally:
        await response.aclose()


def _request_attributes(call: Call, resends: int) -> dict[str, AttributeValue]:
    """Return attributes of the stable HTTP conventions. The query may contain secrets and is omitted."""
    url = call.url
    attributes: dict[str, AttributeValue] = {
        "http.request.method": call.method,
        "server.address": url.host,
        "server.port": url.port or _DEFAULT_PORTS[url.scheme],
        "url.full": str(url.copy_with(query=None)),
    }
    if call.route:
        attributes["url.template"] = call.route
    if resends:
        attributes["http.request.resend_count"] = resends
    return attributes


def _set_error(span: Span, error_type: str) -> None:
    span.set_attribute("error.type", error_type)
    span.set_status(StatusCode.ERROR)


def _qualified_name(error: BaseException) -> str:
    return f"{type(error).__module__}.{type(error).__qualname__}"
