"""Create the table and the rows that are read."""

from advanced_alchemy.base import orm_registry
from alembic import op
from notes import Base

revision = "0001_create_notes"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    for metadata in (Base.metadata, orm_registry.metadata):
        metadata.create_all(op.get_bind())
    op.execute("INSERT INTO notes (title) SELECT 'note ' || n FROM generate_series(1, 1000) AS n")


def downgrade() -> None:
    for metadata in (Base.metadata, orm_registry.metadata):
        metadata.drop_all(op.get_bind())
