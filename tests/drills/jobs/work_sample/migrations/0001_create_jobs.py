"""create jobs and effects"""

from alembic import op
from sqlalchemy import BigInteger, Column, MetaData, String, Table
from starkeel_jobs._tables import JobTables

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    _tables().create_all(op.get_bind())


def downgrade() -> None:
    _tables().drop_all(op.get_bind())


def _tables() -> MetaData:
    metadata = MetaData()
    # The tables of this version of the package, without a copy of their columns.
    JobTables(metadata, dialect="postgresql")
    Table("effects", metadata, Column("job_id", BigInteger), Column("note", String(100)))
    return metadata
