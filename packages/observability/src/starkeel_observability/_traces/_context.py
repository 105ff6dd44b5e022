"""What is current in a request that brings no trace of its own."""

from typing import Any, Final

from opentelemetry.context import Context
from opentelemetry.trace import INVALID_SPAN, NonRecordingSpan, set_span_in_context

from starkeel_observability._request import Request

from . import _span

(SPAN,) = set_span_in_context(INVALID_SPAN, Context())


class RequestContext(Context):
    """Has the request's span made when somebody asks for it, and is an ordinary context from then on.

    Of most requests nobody does; those are told of without one.
    """

    request: Request

    def get(self, key: str, default: Any = None) -> Any:
        """As a dictionary's."""
        if key != SPAN or SPAN in self:
            return _get(self, key, default)
        request = self.request
        if request.is_health:
            return default
        span = _span.start(request, NO_PARENT)
        if request.ended:
            span = NonRecordingSpan(span.get_span_context())
        # Threads may ask at once: all get the same.
        found = dict.setdefault(self, SPAN, span)
        self.__class__ = Context  # type: ignore[assignment]  # whose look-ups cost no call
        return found

    def copy(self) -> dict[str, object]:
        """As a dictionary's."""
        self.get(SPAN)
        return dict.copy(self)

    def __missing__(self, key: str) -> Any:
        found = self.get(key, _NOTHING)
        if found is _NOTHING:
            raise KeyError(key)
        return found


NO_PARENT: Final = Context()
_NOTHING: Final = object()
_get: Final = dict.get
