"""What is current in a request that brings no trace of its own."""

from typing import Any, Final

from opentelemetry.context import Context, create_key
from opentelemetry.trace import INVALID_SPAN, NonRecordingSpan, set_span_in_context

from . import _span

REQUEST: Final = create_key("starkeel-request")
(SPAN,) = set_span_in_context(INVALID_SPAN, Context())


class RequestContext(Context):
    """Has the request's span made when somebody asks for it.

    Of most requests nobody does; those are told of without one.
    """

    def get(self, key: str, default: Any = None) -> Any:
        """As a dictionary's."""
        found = super().get(key, default)
        if found is default and key == SPAN:
            request: Any = self[REQUEST]
            if request.is_health:
                return default
            span = _span.start(request, NO_PARENT)
            # Threads may ask at once: all get the same.
            return dict.setdefault(
                self, SPAN, NonRecordingSpan(span.get_span_context()) if request.ended else span
            )
        return found

    def copy(self) -> dict[str, object]:
        """As a dictionary's."""
        self.get(SPAN)
        return super().copy()

    def __missing__(self, key: str) -> Any:
        found = self.get(key, _NOTHING)
        if found is _NOTHING:
            raise KeyError(key)
        return found


NO_PARENT: Final = Context()
_NOTHING: Final = object()
