"""Create mail requests and one-time tokens; add the verification of users and the keys of sessions."""

import sqlalchemy as sa
from advanced_alchemy.types import GUID, DateTimeUTC
from alembic import op

revision = "0003_create_mail_requests"
down_revision = "0002_create_sessions"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("users", sa.Column("email_verified_at", DateTimeUTC(timezone=True), nullable=True))
    op.add_column("sessions", sa.Column("dpop_jkt", sa.String(length=43), nullable=True))
    op.create_table(
        "mail_requests",
        sa.Column("id", GUID(), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("email_key", sa.String(length=254), nullable=False),
        sa.Column("due_at", DateTimeUTC(timezone=True), nullable=True),
        sa.Column("attempts", sa.SmallInteger(), nullable=False),
        # Column of advanced-alchemy models for matching rows of a bulk insert; always NULL.
        sa.Column("sa_orm_sentinel", sa.Integer(), nullable=True),
        sa.Column("created_at", DateTimeUTC(timezone=True), nullable=False),
        sa.Column("updated_at", DateTimeUTC(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mail_requests")),
    )
    op.create_index(op.f("ix_mail_requests_due_at"), "mail_requests", ["due_at"])
    op.create_index(op.f("ix_mail_requests_email_key"), "mail_requests", ["email_key"])
    op.create_table(
        "one_time_tokens",
        sa.Column("id", GUID(), nullable=False),
        sa.Column("user_id", GUID(), nullable=False),
        sa.Column("purpose", sa.String(length=32), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("state", sa.LargeBinary(length=32), nullable=False),
        sa.Column("expires_at", DateTimeUTC(timezone=True), nullable=False),
        # As above.
        sa.Column("sa_orm_sentinel", sa.Integer(), nullable=True),
        sa.Column("created_at", DateTimeUTC(timezone=True), nullable=False),
        sa.Column("updated_at", DateTimeUTC(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_one_time_tokens_user_id_users"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_one_time_tokens")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_one_time_tokens_token_hash")),
        sa.UniqueConstraint("user_id", "purpose", name="uq_one_time_tokens_user_id_purpose"),
    )
    op.create_index(op.f("ix_one_time_tokens_expires_at"), "one_time_tokens", ["expires_at"])


def downgrade() -> None:
    op.drop_table("one_time_tokens")
    op.drop_table("mail_requests")
    op.drop_column("sessions", "dpop_jkt")
    op.drop_column("users", "email_verified_at")
