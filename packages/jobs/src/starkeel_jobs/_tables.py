"""The tables of jobs, of the keys of unique jobs, and of schedules."""

from typing import Any, Final, Literal

from advanced_alchemy.types import DateTimeUTC
from sqlalchemy import BigInteger, Column, Index, Integer, MetaData, SmallInteger, String, Table, Text

from ._definition import MAX_ORDERING_KEY

State = Literal["queued", "running", "succeeded", "failed"]

_TIME: Final = DateTimeUTC(timezone=True)


class JobTables:
    """The tables; they are added to the metadata of a service's models, and its migrations create them.

    Attributes:
        jobs: A row is a job, until its retention is over.
        keys: Keys of unique jobs, and until when they are taken.
        schedules: The last time of each schedule for which a job was enqueued.
    """

    def __init__(self, metadata: MetaData, *, dialect: str) -> None:
        self.jobs = _jobs(metadata, dialect)
        self.keys = _table(
            metadata,
            "job_keys",
            Column("key", String(64), primary_key=True),
            Column("until", _TIME, nullable=False, index=True),
        )
        self.schedules = _table(
            metadata,
            "job_schedules",
            Column("name", String(100), primary_key=True),
            Column("last_due", _TIME, nullable=False),
        )


def _jobs(metadata: MetaData, dialect: str) -> Table:
    # For this dialect only, because SQLAlchemy imports the dialects of options.
    options: dict[str, Any] = {"sqlite_autoincrement": True} if dialect == "sqlite" else {}
    return _table(
        metadata,
        "jobs",
        Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
        Column("name", String(100), nullable=False),
        Column("arguments", Text, nullable=False),
        Column("state", String(16), nullable=False),
        # The negative of the priority, since the index is in ascending order.
        Column("rank", SmallInteger, nullable=False),
        Column("attempts", SmallInteger, nullable=False, server_default="0"),
        Column("due_at", _TIME, nullable=False),
        Column("worker", String(100)),
        Column("alive_at", _TIME),
        Column("created_at", _TIME, nullable=False),
        Column("finished_at", _TIME, index=True),
        Column("error", Text),
        Column("traceparent", String(55)),
        Column("request_id", String(200)),
        Column("ordering_key", String(MAX_ORDERING_KEY)),
        # Neither partial nor of expressions: a migration written with SQLite suits PostgreSQL, too.
        Index("ix_jobs_queued", "state", "rank", "due_at", "id"),
        Index("ix_jobs_running", "state", "name"),
        Index("ix_jobs_ordering_key", "ordering_key", "name", "state", "id"),
        **options,
    )


def _table(metadata: MetaData, name: str, *parts: Any, **options: Any) -> Table:
    found = metadata.tables.get(name)
    return Table(name, metadata, *parts, **options) if found is None else found
