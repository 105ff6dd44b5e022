"""Create the record of the broker that received the last events."""

import sqlalchemy as sa
from advanced_alchemy.types import DateTimeUTC
from alembic import op

revision = "0004_create_outbox_broker"
down_revision = "0003_create_outbox"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "outbox_broker",
        sa.Column("id", sa.SmallInteger(), nullable=False, autoincrement=False),
        sa.Column("identity", sa.String(length=200), nullable=False),
        sa.Column("confirmed_at", DateTimeUTC(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox_broker")),
    )


def downgrade() -> None:
    op.drop_table("outbox_broker")
