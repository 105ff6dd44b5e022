"""Add the id of the request to the events of the outbox."""

import sqlalchemy as sa
from alembic import op

revision = "0005_request_ids"
down_revision = "0004_trace_events"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("outbox", sa.Column("request_id", sa.String(length=200), nullable=True))


def downgrade() -> None:
    op.drop_column("outbox", "request_id")
