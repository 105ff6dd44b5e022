"""Adds jobs to the queue, any number of them by one statement; by two on SQLite if some are unique."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any, Final

import msgspec
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from structlog.contextvars import get_contextvars

from ._definition import EnqueueOptions, Job

TRACEPARENT: Final = "traceparent"
# Always W3C, whatever propagator the process uses: the value is stored and read later.
propagator: Final = TraceContextTextMapPropagator()
_MAX_REQUEST_ID: Final = 200
_MAX_TRACEPARENT: Final = 55
CHANNEL: Final = "starkeel_jobs"
"""Channel on which PostgreSQL notifies of jobs that are due, at the commit."""

# The jobs are one parameter, so that the text does not depend on their number. The ids ascend in the order of
# the positions, and keys are taken in one order, so that two units of work do not wait for each other.
_POSTGRES: Final = text("""
WITH given AS MATERIALIZED (
    SELECT * FROM json_to_recordset(CAST(:jobs AS json)) AS given (
        position integer, name text, arguments text, rank smallint, due_at timestamptz, ordering_key text,
        traceparent text, request_id text, key text, seconds double precision
    )
), taken AS (
    INSERT INTO job_keys (key, until)
    SELECT key, now() + seconds * interval '1 second' FROM given WHERE key IS NOT NULL ORDER BY key
    ON CONFLICT (key) DO UPDATE SET until = excluded.until WHERE job_keys.until <= now()
    RETURNING key
), accepted AS MATERIALIZED (
    SELECT * FROM given WHERE key IS NULL OR key IN (SELECT key FROM taken)
), inserted AS (
    INSERT INTO jobs (
        name, arguments, state, rank, due_at, created_at, ordering_key, traceparent, request_id
    )
    SELECT name, arguments, 'queued', rank, coalesce(due_at, now()), now(), ordering_key, traceparent,
        request_id
    FROM accepted ORDER BY position
    RETURNING id
), notified AS (
    SELECT pg_notify('starkeel_jobs', '') FROM accepted WHERE due_at IS NULL LIMIT 1
)
SELECT id, NULL AS position FROM inserted
UNION ALL SELECT NULL, position FROM accepted
UNION ALL SELECT NULL, NULL FROM (SELECT count(*) FROM (SELECT * FROM notified) AS sent) AS counted
""")
_SQLITE_KEYS: Final = text("""
INSERT INTO job_keys (key, until)
SELECT value ->> 'key', value ->> 'until' FROM json_each(:jobs) WHERE value ->> 'key' IS NOT NULL
ON CONFLICT (key) DO UPDATE SET until = excluded.until WHERE job_keys.until <= :now
RETURNING key
""")
_SQLITE_JOBS: Final = text("""
INSERT INTO jobs (name, arguments, state, rank, due_at, created_at, ordering_key, traceparent, request_id)
SELECT value ->> 'name', value ->> 'arguments', 'queued', value ->> 'rank',
    coalesce(value ->> 'due_at', :now), :now, value ->> 'ordering_key', value ->> 'traceparent',
    value ->> 'request_id'
FROM json_each(:jobs) AS given ORDER BY given.id
RETURNING id
""")


@dataclass(frozen=True, slots=True)
class JobRequest:
    """A job to enqueue together with others.

    Attributes:
        job: The job, with its options.
        arguments: Arguments of its function by name.
        traceparent: W3C trace context of what caused it; by default that of the current span.
        request_id: Id of the request that caused it; by default that of the current request.
    """

    job: Job[Any]
    arguments: Mapping[str, Any]
    traceparent: str | None = None
    request_id: str | None = None


async def add_jobs(
    session: AsyncSession, requests: Sequence[JobRequest], *, is_postgres: bool
) -> list[int | None]:
    """Add jobs in a unit of work; return the id of each, or None if the same job was added before.

    Raises:
        TypeError: Arguments do not fit a function.
        ValueError: The arguments of a job have more than a million bytes.
    """
    now = datetime.now(UTC)
    context = _Context()
    found: list[int | None] = [None] * len(requests)
    given: list[dict[str, Any]] = []
    keys: set[str] = set()
    for position, request in enumerate(requests):
        row = context.row(position, request, now, is_postgres=is_postgres)
        if (key := row["key"]) is not None:
            if key in keys:
                continue
            keys.add(key)
        given.append(row)
    if is_postgres:
        rows = (await session.execute(_POSTGRES, {"jobs": _json(given)})).all() if given else []
        ids = sorted(row[0] for row in rows if row[0] is not None)
        positions = sorted(row[1] for row in rows if row[1] is not None)
    else:
        if keys:
            values = {"jobs": _json(given), "now": _sqlite_time(now)}
            taken = set((await session.scalars(_SQLITE_KEYS, values)).all())
            given = [row for row in given if row["key"] is None or row["key"] in taken]
        values = {"jobs": _json(given), "now": _sqlite_time(now)}
        ids = sorted((await session.scalars(_SQLITE_JOBS, values)).all()) if given else []
        positions = [row["position"] for row in given]
    for position, job_id in zip(positions, ids, strict=True):
        found[position] = job_id
    return found


class _Context:
    """The current span and request, from which jobs without their own are enqueued."""

    def __init__(self) -> None:
        carrier: dict[str, str] = {}
        propagator.inject(carrier)
        self._traceparent = carrier.get(TRACEPARENT)
        self._request_id = get_contextvars().get("request_id")

    def row(self, position: int, request: JobRequest, now: datetime, *, is_postgres: bool) -> dict[str, Any]:
        job, options = request.job, request.job.options
        arguments = job.encode(**request.arguments)
        request_id = request.request_id or self._request_id
        traceparent = request.traceparent or self._traceparent
        row = {
            "position": position,
            "name": job.name,
            "arguments": arguments,
            "rank": -options.priority,
            "due_at": _time(options.run_at, is_postgres=is_postgres),
            "ordering_key": options.ordering_key,
            "traceparent": traceparent if traceparent and len(traceparent) <= _MAX_TRACEPARENT else None,
            "request_id": None if request_id is None else str(request_id)[:_MAX_REQUEST_ID],
            "key": None,
        }
        if options.unique_for is not None:
            row["key"] = _key(job.name, arguments, options)
            row["seconds"] = options.unique_for.total_seconds()
            row["until"] = _sqlite_time(now + options.unique_for)
        return row


def _json(rows: list[dict[str, Any]]) -> str:
    return msgspec.json.encode(rows).decode()


def _time(moment: datetime | None, *, is_postgres: bool) -> str | None:
    if moment is None:
        return None
    return moment.isoformat() if is_postgres else _sqlite_time(moment)


def _sqlite_time(moment: datetime) -> str:
    """Return a time as SQLAlchemy stores it in SQLite."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")


def _key(name: str, arguments: str, options: EnqueueOptions) -> str:
    same = arguments if options.unique_key is None else f"\0{options.unique_key}"
    return blake2b(f"{name}\0{same}".encode(), digest_size=32).hexdigest()
