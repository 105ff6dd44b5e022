"""Create the table and the rows that are read."""

from alembic import op
from starkeel.app import Base

revision = "0001_create_notes"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    Base.metadata.create_all(op.get_bind())
    op.execute("INSERT INTO notes (title) SELECT 'note ' || n FROM generate_series(1, 1000) AS n")


def downgrade() -> None:
    Base.metadata.drop_all(op.get_bind())
