"""Waiting for the jobs of a service's processes."""

import asyncio
import sqlite3
from contextlib import closing
from urllib.parse import unquote, urlsplit

import asyncpg  # type: ignore[import-untyped]  # has no types

from ._wait import wait_until

_STATES = "SELECT id, state, error FROM jobs WHERE name = {} ORDER BY id"

Row = tuple[int, str, str | None]


def wait_for_jobs(url: str, name: str, *, count: int = 1, timeout_s: float = 30.0) -> list[int]:
    """Wait until jobs of `starkeel-jobs` have succeeded in any process, and return their ids.

    It reads the table `jobs`; not to be called within an event loop.

    Args:
        url: The service's `DATABASE_URL`.
        name: Name of the jobs.
        count: Least number of jobs that must have succeeded.
        timeout_s: Seconds until the wait fails.

    Raises:
        AssertionError: A job with this name has failed for good, or too few have succeeded in time.
    """
    rows: list[Row] = []

    def succeeded() -> list[int]:
        rows[:] = _read(url, name)
        for job_id, state, error in rows:
            assert state != "failed", f"job {job_id} ({name}) has failed: {error}"
        found = [job_id for job_id, state, _ in rows if state == "succeeded"]
        return found if len(found) >= count else []

    def expected() -> str:
        states = ", ".join(f"{job_id} {state}" for job_id, state, _ in rows) or "none"
        return f"{count} succeeded jobs {name}; there are: {states}"

    return wait_until(succeeded, timeout_s=timeout_s, what=expected)


def _read(url: str, name: str) -> list[Row]:
    parts = urlsplit(url)
    if parts.scheme.startswith("sqlite"):
        with closing(sqlite3.connect(unquote(parts.path.removeprefix("/")))) as connection:
            return connection.execute(_STATES.format("?"), (name,)).fetchall()
    return asyncio.run(_read_postgres(parts._replace(scheme="postgresql").geturl(), name))


async def _read_postgres(url: str, name: str) -> list[Row]:
    connection = await asyncpg.connect(url)
    try:
        return [(row[0], row[1], row[2]) for row in await connection.fetch(_STATES.format("$1"), name)]
    finally:
        await connection.close()
