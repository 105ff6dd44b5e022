"""Server spans of known requests."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from .._rows.verdict import Evidence, Undecided
from .drill import Drill
from .spans import Span
from .waiting import until, until_stable

REQUESTS = 10
_ARRIVAL_S = 6.0
_QUIET_S = 0.8
_SHOWN = 4


@dataclass(frozen=True, slots=True)
class Traced:
    """Requests with a `traceparent` each, and the server spans that arrived afterwards.

    Attributes:
        path: Path.
        status: Status of the responses.
        parents: Span id by trace id, as they were sent.
        spans: Server spans.
    """

    path: str
    status: int
    parents: dict[str, str]
    spans: tuple[Span, ...]

    @property
    def arrived(self) -> tuple[Span, ...]:
        """The spans; raises `Undecided` without any."""
        if not self.spans:
            raise Undecided("No server span arrived: see traces-one-span.")
        return self.spans


def traced(drill: Drill, path: str) -> Traced:
    """Send requests for a path to the shared instance, and return its server spans."""
    return drill.once.get(f"traced {path}", lambda: _observe(drill, path))


def traced_path(drill: Drill) -> str:
    """Return the path of a request that a route answers.

    Raises:
        Undecided: None is configured.
    """
    if not drill.config.safe_read.path:
        raise Undecided("Set safe_read.path to a GET that succeeds in seatrial.toml.")
    return drill.config.safe_read.path


def _observe(drill: Drill, path: str) -> Traced:
    service = drill.service(drill.calm)
    # Spans of earlier requests must not be taken for those of these.
    until_stable(lambda: len(drill.collector.spans), quiet_s=_QUIET_S, timeout_s=_ARRIVAL_S)
    start = len(drill.collector.spans)
    parents = {secrets.token_hex(16): secrets.token_hex(8) for _ in range(REQUESTS)}
    status = 0
    for trace_id, span_id in parents.items():
        headers = [("traceparent", f"00-{trace_id}-{span_id}-01"), *service.authorization]
        status = service.client.get(path, headers=headers).status
    until(lambda: len(drill.collector.servers_since(start)) >= REQUESTS, _ARRIVAL_S)
    until_stable(lambda: len(drill.collector.spans), quiet_s=_QUIET_S, timeout_s=_ARRIVAL_S)
    if drill.collector.problems:
        raise Undecided(f"Exports cannot be read: {drill.collector.problems[0]}")
    return Traced(path, status, parents, tuple(drill.collector.servers_since(start)))


def shown(spans: Sequence[Span]) -> Evidence:
    """Return the first spans as evidence."""
    return Evidence("server spans", "\n".join(map(str, spans[:_SHOWN])) or "(none)")
