"""create jobs, events and effects"""

from alembic import op
from sqlalchemy import BigInteger, Column, MetaData, String, Table
from starkeel_db._outbox.broker_memory import broker_table
from starkeel_db._outbox.writer import outbox_table
from starkeel_jobs._tables import JobTables
from starkeel_messaging._tables import topics_table

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
    # The tables of this version of the packages, without a copy of their columns.
    JobTables(metadata, dialect="postgresql")
    outbox_table(metadata, dialect="postgresql")
    broker_table(metadata)
    topics_table(metadata)
    columns = [Column("key", String(64)), Column("number", BigInteger)]
    Table("event_effects", metadata, Column("id", BigInteger, primary_key=True), *columns)
    Table("effects", metadata, Column("job_id", BigInteger), Column("note", String(100)))
    return metadata
