"""One attempt at a call: what is sent along, what comes back, and the span that tells of it."""

from math import floor
from typing import Final

import anyio
import httpx2
import structlog
from opentelemetry import propagate, trace
from opentelemetry.trace import Span, SpanKind, StatusCode
from opentelemetry.util.types import AttributeValue

from ._call import Call, Failure

MAX_RESPONSE_BYTES: Final = 8 * 1024 * 1024
"""An answer larger than this is not read: calls between services exchange messages, not files."""

_TRACER = trace.get_tracer("starkeel_client")
_DEFAULT_PORTS = {"http": 80, "https": 443}
# What describes the body as it was sent, not as it is handed on.
_HOP_HEADERS = ("content-encoding", "content-length", "transfer-encoding", "connection")


class BadAnswerError(Exception):
    """The upstream answered what cannot be read."""


UNREADABLE: Final = (httpx2.DecodingError, BadAnswerError)
"""What is raised when the upstream answered, but not what can be read."""


async def attempt(
    transport: httpx2.AsyncBaseTransport, call: Call, *, resends: int, connect_timeout_s: float
) -> httpx2.Response | Failure:
    """Make a call once, in a client span of its own.

    Args:
        transport: The upstream's pool.
        call: What to ask.
        resends: How often it was tried before.
        connect_timeout_s: Seconds to wait for a connection.

    Raises:
        httpx2.LocalProtocolError: The caller's headers cannot be sent.
    """
    name = f"{call.method} {call.route}" if call.route else call.method
    with _TRACER.start_as_current_span(
        name,
        kind=SpanKind.CLIENT,
        attributes=_asked(call, resends),
        record_exception=False,
        set_status_on_exception=False,
    ) as span:
        try:
            outcome = await _outcome(transport, call, connect_timeout_s)
        except BaseException as error:  # cancelled, most likely: the span has to say so
            _fail(span, _name_of(error))
            raise
        _tell(span, outcome)
        return outcome


async def _outcome(
    transport: httpx2.AsyncBaseTransport, call: Call, connect_timeout_s: float
) -> httpx2.Response | Failure:
    try:
        with anyio.fail_after(max(call.left_s(), 0)):
            return await _exchange(transport, _request(call, connect_timeout_s))
    except TimeoutError as error:
        return Failure("timeout", False, error)
    except httpx2.LocalProtocolError:
        raise
    except httpx2.PoolTimeout as error:
        # Ours to bear: whoever comes next would only wait as long.
        return Failure(_name_of(error), False, error)
    except httpx2.TransportError as error:
        return Failure(_name_of(error), True, error)
    except UNREADABLE as error:
        return Failure(_name_of(error), False, error)


def _request(call: Call, connect_timeout_s: float) -> httpx2.Request:
    headers = httpx2.Headers({"Accept": "application/json", "Accept-Encoding": "identity"})
    headers.update(call.headers)
    # Ours win over the caller's: a trace, and a request's name and time, go on unbroken.
    propagated: dict[str, str] = {}
    propagate.inject(propagated)
    headers.update(propagated)
    request_id = structlog.contextvars.get_contextvars().get("request_id")
    if isinstance(request_id, str):
        headers["X-Request-ID"] = request_id
    # Rounded down: nobody should work on when nobody waits.
    headers["X-Request-Timeout"] = f"{max(floor(call.left_s() * 1000), 1) / 1000:.3f}"
    # Reading and writing are bounded by the time that is left for the whole.
    timeouts = {"connect": connect_timeout_s, "pool": connect_timeout_s, "read": None, "write": None}
    return httpx2.Request(
        call.method, call.url, headers=headers, content=call.content, extensions={"timeout": timeouts}
    )


async def _exchange(transport: httpx2.AsyncBaseTransport, request: httpx2.Request) -> httpx2.Response:
    answer = await transport.handle_async_request(request)
    answer.request = request
    try:
        body = bytearray()
        async for chunk in answer.aiter_bytes():
            body += chunk
            if len(body) > MAX_RESPONSE_BYTES:
                raise BadAnswerError(f"the answer is larger than {MAX_RESPONSE_BYTES} bytes")
    finally:
        await answer.aclose()
    headers = [(name, value) for name, value in answer.headers.multi_items() if name not in _HOP_HEADERS]
    return httpx2.Response(answer.status_code, headers=headers, content=bytes(body), request=request)


def _asked(call: Call, resends: int) -> dict[str, AttributeValue]:
    """Attributes of the stable HTTP conventions; a query may hold secrets and is left out."""
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


def _tell(span: Span, outcome: httpx2.Response | Failure) -> None:
    if isinstance(outcome, Failure):
        _fail(span, outcome.error_type)
        return
    span.set_attribute("http.response.status_code", outcome.status_code)
    if outcome.status_code >= 400:
        _fail(span, str(outcome.status_code))


def _fail(span: Span, error_type: str) -> None:
    span.set_attribute("error.type", error_type)
    span.set_status(StatusCode.ERROR)


def _name_of(error: BaseException) -> str:
    return f"{type(error).__module__}.{type(error).__qualname__}"
