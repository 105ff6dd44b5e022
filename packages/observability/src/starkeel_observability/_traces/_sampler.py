"""Which traces are sent, as the specification has it."""

from collections.abc import Callable

from opentelemetry.trace import SpanContext

from ._types import Sampler

Decide = Callable[[SpanContext | None, bytes], bool]
"""Whether a span is recorded, given its parent and its trace."""


def sampler(name: Sampler, share: float) -> Decide:
    """Make what decides.

    Args:
        name: As `OTEL_TRACES_SAMPLER` has it.
        share: Of traces that are sent, for those that are called after a ratio.
    """
    if name == "parentbased_always_on":
        return all_but_unsampled
    root = _root(name.removeprefix("parentbased_"), share)
    if not name.startswith("parentbased_"):
        return root

    def by_parent(parent: SpanContext | None, trace_id: bytes) -> bool:
        return root(None, trace_id) if parent is None else bool(parent.trace_flags & 1)

    return by_parent


def all_but_unsampled(parent: SpanContext | None, _trace_id: bytes) -> bool:
    """The default: all, unless their parent is not sent."""
    return parent is None or bool(parent.trace_flags & 1)


def _root(name: str, share: float) -> Decide:
    if name == "always_on":
        return lambda _parent, _trace_id: True
    if name == "always_off":
        return lambda _parent, _trace_id: False
    # The same traces as others choose by the same ratio.
    bound = round(share * (1 << 64))
    return lambda _parent, trace_id: int.from_bytes(trace_id[8:16], "big") < bound
