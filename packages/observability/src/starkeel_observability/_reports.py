"""Requests that are over and wait to be told of, many at a time: each alone would cost twice as much."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from time import perf_counter, time_ns
from typing import Any, Final

import structlog

from . import _ambient
from ._logs import _access
from ._metrics._http import HttpMetrics, Key
from ._request import Request
from ._traces._server import ServerSpan

log = structlog.get_logger(__name__)
access_log = structlog.get_logger(_access.TARGET)

_GATHER_S: Final = 0.01
"""Seconds that a request waits for others to be told of with it."""
_MOST: Final = 500

Report = tuple[Request, str | None, int, bytes, ServerSpan | None, bool, Mapping[str, Any], int | None]
"""What was asked, template of its route, status of the answer, ids of its trace and its span or the span that
is to be ended, whether that is sent, what was bound for it, and how many bytes were answered when its line is
to be written."""


class Reports:
    """Counts requests, and tells of them in the log and to the collector, a moment after they are over.

    Args:
        metrics: Where they are counted.
    """

    def __init__(self, metrics: HttpMetrics) -> None:
        self._metrics = metrics
        self._waiting: list[Report] = []
        self._timer: asyncio.TimerHandle | None = None
        self.gathers = False
        """Whether there is somebody who will flush at the end; else each is told of at once."""

    def add(self, report: Report) -> None:
        """Tell of a request soon."""
        waiting = self._waiting
        waiting.append(report)
        if self._timer is None:
            self._schedule()
        elif len(waiting) >= _MOST:
            self.flush()

    def flush(self) -> None:
        """Tell of all that wait, now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting, self._waiting = self._waiting, []
        # One look at the clock that others set is enough for all.
        offset_ns = time_ns() - int(perf_counter() * 1e9)
        lines: list[str] | None = [] if _access.is_possible() else None
        for report in waiting:
            try:
                self._tell(report, offset_ns, lines)
            except Exception:
                log.exception("request not reported")
        if lines:
            _access.write(lines)

    def _tell(self, report: Report, offset_ns: int, lines: list[str] | None) -> None:
        request, route, status, ids, span, is_sent, bound, sent_bytes = report
        key = (request.method, route, status)
        ended_ns = int(request.ended * 1e9) + offset_ns
        if span is not None:
            ids = span.ids
            if span.complete(key, None, ended_ns):
                span.finish()
        self._metrics.observe(key, request.began, request.ended, ids if is_sent else b"")
        if sent_bytes is None:
            return
        if lines is not None and not (bound and _access.is_said(bound)):
            lines.append(_access.line(request, key, ids, bound, sent_bytes, ended_ns))
        else:
            # The long way: it is for people, or somebody wants to see it before.
            fields = told(request, key, sent_bytes)
            _ambient.again(request.id, ids, bound, lambda: access_log.info("request completed", **fields))

    def _schedule(self) -> None:
        if self.gathers:
            # Test clients have loops of other kinds.
            with suppress(RuntimeError):
                self._timer = asyncio.get_running_loop().call_later(_GATHER_S, self.flush)
                return
        self.flush()


def told(request: Request, key: Key, sent_bytes: int) -> dict[str, Any]:
    """What the line of a request says, its id and its trace apart."""
    _, route, status = key
    fields: dict[str, Any] = {"method": request.method, "path": request.path, "status": status}
    if route is not None:
        fields["route"] = route
    fields["duration_ms"] = round(request.duration_s * 1000, 3)
    fields["bytes"] = sent_bytes
    if request.client is not None:
        fields["client"] = request.client
    return fields
