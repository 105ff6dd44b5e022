"""What code in a request finds around it: its id in structlog's variables, its trace in OpenTelemetry's."""

from collections.abc import Callable, Mapping
from contextvars import Context as ContextVars
from contextvars import ContextVar, Token, copy_context
from typing import Any, Final

from opentelemetry import context
from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, SpanContext, set_span_in_context
from structlog.contextvars import bind_contextvars, clear_contextvars, get_contextvars

NO_FIELDS: Final[Mapping[str, Any]] = {}


def _variable(bind: Callable[[], Any]) -> ContextVar[Any] | None:
    """The variable that a library sets, looked up once: its own way to it costs a microsecond each time."""
    token = copy_context().run(bind)
    return token.var if isinstance(token, Token) else None


_id = _variable(lambda: bind_contextvars(request_id="")["request_id"])
assert _id is not None
ID_VAR: Final[ContextVar[str]] = _id
# Whose context is kept elsewhere is asked each time.
_trace: Final = _variable(lambda: context.attach(Context()))
attach: Final[Callable[[Context], Any]] = context.attach if _trace is None else _trace.set
detach: Final[Callable[[Any], None]] = context.detach if _trace is None else _trace.reset
OWN_COUNT: Final = 1 if _trace is None else 2


def bound_fields() -> Mapping[str, Any]:
    """What is bound beside the request's id, by whomever."""
    found = get_contextvars()
    found.pop("request_id", None)
    return found


def restore(token: Token[str], before: ContextVars, bound: Mapping[str, Any]) -> None:
    """Have bound what was bound before a request, and nothing else: it ends with it, whoever bound it.

    Args:
        token: Of the request's id.
        before: All variables, as they were then.
        bound: What is bound beside the id.
    """
    if bound or len(before):
        _bind(before.run(get_contextvars))
    else:
        ID_VAR.reset(token)


def _bind(variables: Mapping[str, Any]) -> None:
    clear_contextvars()
    bind_contextvars(**variables)


def run_as_request(request_id: str, ids: bytes, variables: Mapping[str, Any], do: Callable[[], None]) -> None:
    """Do something as if it were in a request that is over.

    Args:
        request_id: Of the request.
        ids: Of its trace, 16 bytes, and of its span, 8 bytes; none when it has no span.
        variables: What was bound for it.
        do: What is to be done.
    """

    def within() -> None:
        _bind({**variables, "request_id": request_id})
        trace_id, span_id = int.from_bytes(ids[:16], "big"), int.from_bytes(ids[16:], "big")
        span = NonRecordingSpan(SpanContext(trace_id, span_id, is_remote=False))
        attach(set_span_in_context(span, Context()))
        do()

    copy_context().run(within)
