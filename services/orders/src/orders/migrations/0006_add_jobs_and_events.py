"""Create the tables of jobs and of received events, and add the address of the confirmation."""

import sqlalchemy as sa
from advanced_alchemy.types import DateTimeUTC
from alembic import op

revision = "0006_add_jobs_and_events"
down_revision = "0005_request_ids"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "event_topics",
        sa.Column("topic", sa.String(length=100), nullable=False),
        sa.Column("position", sa.Text(), nullable=False),
        sa.Column("broker", sa.String(length=100), nullable=False),
        sa.Column("holder", sa.String(length=100), nullable=True),
        sa.Column("held_until", DateTimeUTC(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("topic", name=op.f("pk_event_topics")),
    )
    op.create_table(
        "job_keys",
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("until", DateTimeUTC(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_job_keys")),
    )
    op.create_index(op.f("ix_job_keys_until"), "job_keys", ["until"])
    op.create_table(
        "job_schedules",
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("last_due", DateTimeUTC(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_job_schedules")),
    )
    op.create_table(
        "jobs",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("arguments", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("rank", sa.SmallInteger(), nullable=False),
        sa.Column("attempts", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("due_at", DateTimeUTC(timezone=True), nullable=False),
        sa.Column("worker", sa.String(length=100), nullable=True),
        sa.Column("alive_at", DateTimeUTC(timezone=True), nullable=True),
        sa.Column("created_at", DateTimeUTC(timezone=True), nullable=False),
        sa.Column("finished_at", DateTimeUTC(timezone=True), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("traceparent", sa.String(length=55), nullable=True),
        sa.Column("request_id", sa.String(length=200), nullable=True),
        sa.Column("ordering_key", sa.String(length=200), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
        # Ids must not be reused after the last rows have been deleted.
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_jobs_finished_at"), "jobs", ["finished_at"])
    op.create_index("ix_jobs_ordering_key", "jobs", ["ordering_key", "name", "state", "id"])
    op.create_index("ix_jobs_queued", "jobs", ["state", "rank", "due_at", "id"])
    op.create_index("ix_jobs_running", "jobs", ["state", "name"])
    op.create_table(
        "outbox_broker",
        sa.Column("id", sa.SmallInteger(), nullable=False, autoincrement=False),
        sa.Column("identity", sa.String(length=200), nullable=False),
        sa.Column("confirmed_at", DateTimeUTC(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox_broker")),
    )
    op.add_column("orders", sa.Column("email", sa.String(length=254), nullable=True))


def downgrade() -> None:
    op.drop_column("orders", "email")
    op.drop_table("outbox_broker")
    op.drop_table("jobs")
    op.drop_table("job_schedules")
    op.drop_table("job_keys")
    op.drop_table("event_topics")
