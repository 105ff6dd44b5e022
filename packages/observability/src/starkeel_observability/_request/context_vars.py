"""Context variables of a request: its id, for structlog, and its trace, for OpenTelemetry."""

from collections.abc import Callable, Mapping
from contextvars import Context as ContextVars
from contextvars import Token, copy_context
from typing import Any, Final

from opentelemetry import context
from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, SpanContext, set_span_in_context
from structlog.contextvars import bind_contextvars, clear_contextvars, get_contextvars

from .._compat import REQUEST_ID_VARIABLE, TRACE_VARIABLE

NO_FIELDS: Final[Mapping[str, Any]] = {}

ID_VAR: Final = REQUEST_ID_VARIABLE
attach: Final[Callable[[Context], Any]] = context.attach if TRACE_VARIABLE is None else TRACE_VARIABLE.set
detach: Final[Callable[[Any], None]] = context.detach if TRACE_VARIABLE is None else TRACE_VARIABLE.reset
OWN_COUNT: Final = 1 if TRACE_VARIABLE is None else 2
"""Number of variables that a request sets by itself."""


def bound_fields() -> Mapping[str, Any]:
    """Return the fields bound in structlog's context variables, except the request id."""
    found = get_contextvars()
    found.pop("request_id", None)
    return found


def restore(token: Token[str], before: ContextVars, bound: Mapping[str, Any]) -> None:
    """Restore structlog's context variables after a request, including those that the application bound.

    Args:
        token: Token of the request id's variable.
        before: Context before the request.
        bound: Fields bound at the end of the request.
    """
    if bound or len(before):
        _bind(before.run(get_contextvars))
    else:
        ID_VAR.reset(token)


def _bind(variables: Mapping[str, Any]) -> None:
    clear_contextvars()
    bind_contextvars(**variables)


def run_as_request(
    request_id: str, ids: bytes, variables: Mapping[str, Any], function: Callable[[], None]
) -> None:
    """Call a function in the context of a request that has ended.

    Args:
        request_id: Request id.
        ids: Trace id, 16 bytes, and span id, 8 bytes; empty if the request has no span.
        variables: Fields bound in structlog's context variables.
        function: Function to call.
    """

    def within() -> None:
        _bind({**variables, "request_id": request_id})
        trace_id, span_id = int.from_bytes(ids[:16], "big"), int.from_bytes(ids[16:], "big")
        span = NonRecordingSpan(SpanContext(trace_id, span_id, is_remote=False))
        attach(set_span_in_context(span, Context()))
        function()

    copy_context().run(within)
