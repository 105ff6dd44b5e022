"""What migrations would do, as SQL; nothing is done."""

import io
import re
from collections.abc import Iterator, Sequence
from typing import Final

from alembic import command
from sqlalchemy import MetaData

from .scripts import Scripts

_CREATED: Final = re.compile(r"CREATE TABLE (?:IF NOT EXISTS )?(\S+)", re.IGNORECASE)
_INDEXED: Final = re.compile(
    r"CREATE (?:UNIQUE )?INDEX (?!CONCURRENTLY)(?:IF NOT EXISTS )?\S+ ON (\S+)", re.IGNORECASE
)
_ALTERED: Final = re.compile(r"ALTER TABLE (?:ONLY )?(\S+) (.*)", re.IGNORECASE | re.DOTALL)
_DROPPED_INDEX: Final = re.compile(r"DROP INDEX (?!CONCURRENTLY)", re.IGNORECASE)
_CHANGES: Final = (
    (r"ADD COLUMN (?!.*\bDEFAULT\b).*\bNOT NULL", "adds a column that must not be null and has no default"),
    (r"ALTER COLUMN \S+ TYPE", "rewrites the table: a column gets another type"),
    (
        r"ALTER COLUMN \S+ SET NOT NULL",
        "reads the whole table under a lock: a column must not be null any more",
    ),
    (r"ADD CONSTRAINT (?!.*\bNOT VALID\b)(?!.*\bUSING INDEX\b)", "checks the whole table under a lock"),
    (r"RENAME ", "renames what the code that still runs knows by the old name"),
)
_DROPPED_COLUMN: Final = re.compile(r"DROP COLUMN (\S+)", re.IGNORECASE)


def upgrade_sql(scripts: Scripts, *, dialect: str, after: str | None, upto: str = "head") -> str:
    """Return the SQL that brings a database up to date.

    Args:
        scripts: The migrations.
        dialect: `postgresql` or `sqlite`.
        after: The revision it has; None for none.
        upto: The last that is wanted.
    """
    buffer = io.StringIO()
    options = {
        "dialect_name": dialect,
        "literal_binds": True,
        "output_buffer": buffer,
        "version_table": scripts.version_table,
        "transaction_per_migration": dialect != "sqlite",
    }
    command.upgrade(scripts.config(connection=None, options=options), f"{after or 'base'}:{upto}", sql=True)
    return buffer.getvalue()


def blocking_operations(scripts: Scripts, metadata: MetaData) -> list[str]:
    """Name what keeps a table of PostgreSQL locked for long, or the code that still runs from working.

    A revision that does so on purpose says why, in a variable `blocking` of its module.

    Args:
        scripts: The migrations.
        metadata: The models, whose columns must not be dropped.
    """
    found: list[str] = []
    after: str | None = None
    for name in scripts.names():
        if not scripts.reason_to_block(name):
            sql = upgrade_sql(scripts, dialect="postgresql", after=after, upto=name)
            found += [f"{name}: {what}" for what in _findings(_statements(sql), metadata)]
        after = name
    return found


def _statements(sql: str) -> list[str]:
    without_comments = re.sub(r"--[^\n]*", "", sql)
    return [" ".join(one.split()) for one in without_comments.split(";") if one.strip()]


def _findings(statements: Sequence[str], metadata: MetaData) -> Iterator[str]:
    # Nobody uses a table yet that is made here.
    new = {created[1] for one in statements if (created := _CREATED.match(one))}
    for one in statements:
        indexed, altered = _INDEXED.match(one), _ALTERED.match(one)
        if indexed and indexed[1] not in new:
            yield f"builds an index of {indexed[1]} without CONCURRENTLY"
        elif _DROPPED_INDEX.match(one):
            yield "drops an index without CONCURRENTLY"
        elif altered and altered[1] not in new:
            yield from _alterations(altered[1], altered[2], metadata)


def _alterations(table: str, change: str, metadata: MetaData) -> Iterator[str]:
    for pattern, what in _CHANGES:
        if re.match(pattern, change, re.IGNORECASE):
            yield f"{table}: {what}"
    dropped = _DROPPED_COLUMN.match(change)
    if dropped and table in metadata.tables and dropped[1] in metadata.tables[table].columns:
        yield f"{table}: drops {dropped[1]}, which the models have"
