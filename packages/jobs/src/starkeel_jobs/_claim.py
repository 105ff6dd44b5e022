"""A claimed job, and the statements that record its success on PostgreSQL."""

from typing import Final, NamedTuple

from sqlalchemy import text

# As one statement, whatever their number.
# Arguments, which may be personal data, are kept for as long as they are needed.
SUCCEEDED: Final = text("""
UPDATE jobs SET state = 'succeeded', arguments = '{}', finished_at = now(), error = NULL
FROM unnest(CAST(:ids AS bigint[]), CAST(:attempts AS integer[])) AS done (id, attempt)
WHERE jobs.id = done.id AND jobs.attempts = done.attempt AND jobs.state = 'running' AND jobs.worker = :worker
RETURNING jobs.id
""")

# Without parameters, so that it is sent together with COMMIT. Without a row, it fails: the cast is not a
# constant, which would be evaluated beforehand.
_SUCCEEDED_LAST: Final = """
WITH done AS (
    UPDATE jobs SET state = 'succeeded', arguments = '{{}}', finished_at = now(), error = NULL
    WHERE id = {job_id} AND attempts = {attempt} AND state = 'running' AND worker = '{worker}'
    RETURNING id
)
SELECT CASE count(*) WHEN 0 THEN CAST(left('{lost}', 100 + CAST(count(*) AS integer)) AS integer) END
FROM done
"""
LOST: Final = "another process has taken the job over"


class Claim(NamedTuple):
    """A job that a process has begun to execute.

    Attributes:
        attempt: Number of this attempt; with it and the process a late result is recognized.
    """

    job_id: int
    name: str
    arguments: str
    attempt: int
    rank: int
    worker: str
    traceparent: str | None
    request_id: str | None

    def succeeded(self) -> str:
        """Return the statement that records the success, or fails with the text `LOST`."""
        worker = self.worker.replace("'", "''")
        return _SUCCEEDED_LAST.format(job_id=self.job_id, attempt=self.attempt, worker=worker, lost=LOST)
