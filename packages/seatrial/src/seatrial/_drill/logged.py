"""Log lines of known requests."""

import json
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .._rows.verdict import Evidence, Undecided
from .drill import Drill
from .waiting import until, until_stable

REQUESTS = 40
_ARRIVAL_S = 4.0
_QUIET_S = 0.5
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Line:
    """A line of standard output.

    Attributes:
        raw: Its bytes, without the line feed.
        fields: Its fields, those of nested objects with names that are joined by dots; None if it is no
            JSON object.
    """

    raw: bytes
    fields: Mapping[str, Any] | None

    def first(self, *names: str) -> Any:
        """Return the first field of these names that has a value, or None."""
        fields = self.fields or {}
        return next((fields[name] for name in names if fields.get(name) not in {None, ""}), None)

    def is_access(self, method: str, status: int) -> bool:
        """Return whether it reports a request with a method and a status."""
        values = [value for value in (self.fields or {}).values() if isinstance(value, (int, str))]
        has_method = any(isinstance(value, str) and value.split(" ")[0] == method for value in values)
        return has_method and any(str(value) == str(status) for value in values)


@dataclass(frozen=True, slots=True)
class Logged:
    """Output of an instance while known requests were sent.

    Attributes:
        path: Path of the requests.
        status: Their status.
        trace_ids: Trace ids that were sent with them.
        lines: All lines since the start of the instance.
        access: Lines that report these requests.
    """

    path: str
    status: int
    trace_ids: frozenset[str]
    lines: tuple[Line, ...]
    access: tuple[Line, ...]

    @property
    def objects(self) -> list[Line]:
        """Lines that are JSON objects; raises `Undecided` without any."""
        found = [line for line in self.lines if line.fields is not None]
        if not found:
            raise Undecided("No line on standard output is a JSON object: see logs-json.")
        return found

    @property
    def access_lines(self) -> tuple[Line, ...]:
        """Lines that report the requests; raises `Undecided` without any."""
        if not self.access:
            raise Undecided(
                f"No JSON line reports GET {self.path} with its method and status: see logs-access-complete."
            )
        return self.access


def logged(drill: Drill) -> Logged:
    """Send requests to the shared instance, and return what was written."""
    return drill.once.get("logged requests", lambda: _observe(drill))


def _observe(drill: Drill) -> Logged:
    instance = drill.calm
    service = drill.service(instance)
    path = drill.config.safe_read.path or service.missing_path
    start = instance.stdout.size
    trace_ids = [secrets.token_hex(16) for _ in range(REQUESTS)]
    statuses = set()
    for trace_id in trace_ids:
        headers = [("traceparent", f"00-{trace_id}-{secrets.token_hex(8)}-01"), *service.authorization]
        statuses.add(service.client.get(path, headers=headers).status)
    if len(statuses) != 1:
        raise Undecided(f"GET {path} is answered with different statuses {sorted(statuses)}.")
    status = statuses.pop()

    def access() -> list[Line]:
        return [line for line in parsed(instance.stdout.lines(start)) if line.is_access("GET", status)]

    until(lambda: len(access()) >= REQUESTS, _ARRIVAL_S)
    until_stable(lambda: instance.stdout.size, quiet_s=_QUIET_S, timeout_s=_ARRIVAL_S)
    every = tuple(parsed(instance.stdout.lines()))
    return Logged(path, status, frozenset(trace_ids), every, tuple(access()))


def parsed(lines: list[bytes]) -> Iterator[Line]:
    """Yield the lines with their fields; empty lines are left out."""
    for raw in lines:
        if not raw.strip():
            continue
        try:
            document = json.loads(raw)
        except (ValueError, RecursionError):
            document = None
        yield Line(raw, dict(_flat(document, "")) if isinstance(document, dict) else None)


def _flat(document: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in document.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value if not isinstance(value, list) else str(value)


def shown(title: str, lines: list[Line]) -> Evidence:
    """Return the first lines as evidence."""
    text = b"\n".join(line.raw[:400] for line in lines[:_SHOWN])
    return Evidence(title, text.decode("utf-8", "backslashreplace"))
