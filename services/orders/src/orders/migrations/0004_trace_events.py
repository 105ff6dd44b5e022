"""Add the trace context to the events of the outbox."""

import sqlalchemy as sa
from alembic import op

revision = "0004_trace_events"
down_revision = "0003_create_outbox"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("outbox", sa.Column("traceparent", sa.String(length=55), nullable=True))


def downgrade() -> None:
    op.drop_column("outbox", "traceparent")
