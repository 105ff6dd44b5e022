"""Create the table of crates."""

import sqlalchemy as sa
from advanced_alchemy.types import GUID, DateTimeUTC
from alembic import op

revision = "0001_create_crates"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "depot_crates",
        sa.Column("id", GUID(), nullable=False),
        sa.Column("user_id", GUID(), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        # Column of advanced-alchemy models for matching rows of a bulk insert; always NULL.
        sa.Column("sa_orm_sentinel", sa.Integer(), nullable=True),
        sa.Column("created_at", DateTimeUTC(timezone=True), nullable=False),
        sa.Column("updated_at", DateTimeUTC(timezone=True), nullable=False),
        sa.CheckConstraint("quantity BETWEEN 0 AND 1000000", name=op.f("ck_depot_crates_quantity")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_depot_crates")),
    )
    # Serves the pages of a user's crates, newest first.
    op.create_index("ix_depot_crates_page", "depot_crates", ["user_id", "created_at", "id"])


def downgrade() -> None:
    op.drop_table("depot_crates")
