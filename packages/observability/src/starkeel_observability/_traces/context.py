"""OpenTelemetry context of a request without an incoming trace; its span is created on first access."""

from typing import Any, Final

from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan
from starkeel_asgi import Exchange

from .._compat import SPAN_KEY
from .._request.request import is_health
from . import request_span

SPAN: Final = SPAN_KEY


class RequestContext(Context):
    """Context that creates the request's span on first access and is an ordinary context from then on.

    Most requests never access it; they are reported without a span object.
    """

    request: Exchange

    def get(self, key: str, default: Any = None) -> Any:
        """Return a value; creates the span if `key` is that of the current span."""
        if key != SPAN or SPAN in self:
            return _get(self, key, default)
        request = self.request
        if is_health(request):
            return default
        span = request_span.start(request, NO_PARENT)
        if request.ended_ns:
            span = NonRecordingSpan(span.get_span_context())
        # Several threads may get here at once; all must return the same span.
        found = dict.setdefault(self, SPAN, span)
        self.__class__ = Context  # type: ignore[assignment]  # from now on `get` is that of `dict`
        return found

    def copy(self) -> dict[str, object]:
        self.get(SPAN)
        return dict.copy(self)

    def __missing__(self, key: str) -> Any:
        found = self.get(key, _MISSING)
        if found is _MISSING:
            raise KeyError(key)
        return found


NO_PARENT: Final = Context()
_MISSING: Final = object()
_get: Final = dict.get
