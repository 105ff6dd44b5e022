"""Renders migrations as SQL, and finds operations that block other transactions."""

import io
import re
from collections.abc import Iterator, Sequence
from typing import Final

from sqlalchemy import MetaData

from .scripts import Scripts

_CREATED: Final = re.compile(r"CREATE TABLE (?:IF NOT EXISTS )?(\S+)", re.IGNORECASE)
_INDEXED: Final = re.compile(
    r"CREATE (?:UNIQUE )?INDEX (?!CONCURRENTLY)(?:IF NOT EXISTS )?\S+ ON (\S+)", re.IGNORECASE
)
_ALTERED: Final = re.compile(r"ALTER TABLE (?:ONLY )?(\S+) (.*)", re.IGNORECASE | re.DOTALL)
_DROPPED_INDEX: Final = re.compile(r"DROP INDEX (?!CONCURRENTLY)", re.IGNORECASE)
_CHANGES: Final = (
    (r"ADD COLUMN (?!.*\bDEFAULT\b).*\bNOT NULL", "adds a NOT NULL column without a default"),
    (r"ALTER COLUMN \S+ TYPE", "rewrites the table to change the type of a column"),
    (r"ALTER COLUMN \S+ SET NOT NULL", "scans the whole table under a lock for null values"),
    (r"ADD CONSTRAINT (?!.*\bNOT VALID\b)(?!.*\bUSING INDEX\b)", "checks the whole table under a lock"),
    (r"RENAME ", "renames an object that the running release uses under its old name"),
)
_DROPPED_COLUMN: Final = re.compile(r"DROP COLUMN (?:IF EXISTS )?(\S+)", re.IGNORECASE)
_DROPPED_TABLE: Final = re.compile(r"DROP TABLE (?:IF EXISTS )?(\S+)", re.IGNORECASE)


def upgrade_sql(scripts: Scripts, *, dialect: str, after: str | None, upto: str = "head") -> str:
    """Return the SQL of the migrations after the last applied one, None for an empty database."""
    # Not before `Scripts` has set the level of Alembic's logger: its import logs, too.
    from alembic import command

    buffer = io.StringIO()
    config = scripts.config(
        dialect_name=dialect,
        literal_binds=True,
        output_buffer=buffer,
        transaction_per_migration=dialect != "sqlite",
    )
    command.upgrade(config, f"{after or 'base'}:{upto}", sql=True)
    return buffer.getvalue()


def pending_sql(scripts: Scripts, missing: Sequence[str], *, dialect: str) -> str:
    """Return the SQL of the missing migrations; empty if there are none."""
    if not missing:
        return ""
    applied = scripts.names()[: -len(missing)]
    return upgrade_sql(scripts, dialect=dialect, after=applied[-1] if applied else None)


def blocking_operations(scripts: Scripts, metadata: MetaData) -> list[str]:
    """Return operations that lock a table of PostgreSQL for long or break the running release.

    Revisions with a module variable `blocking`, which holds the reason, are skipped.
    Columns of the models, given as `metadata`, must not be dropped. A revision that drops a column or a table
    has a module variable `contracting`: older code may not work with its schema.
    """
    found: list[str] = []
    after = None
    for name in scripts.names():
        if not scripts.reason_to_block(name):
            sql = upgrade_sql(scripts, dialect="postgresql", after=after, upto=name)
            statements = _statements(sql)
            found += [f"{name}: {what}" for what in _findings(statements, metadata)]
            if not scripts.is_contracting(name):
                found += [f"{name}: {what}" for what in _contractions(statements)]
        after = name
    return found


def _statements(sql: str) -> list[str]:
    without_comments = re.sub(r"--[^\n]*", "", sql)
    return [" ".join(text.split()) for text in without_comments.split(";") if text.strip()]


def _findings(statements: Sequence[str], metadata: MetaData) -> Iterator[str]:
    # Tables created by the same migration are not in use yet.
    new = {created[1] for statement in statements if (created := _CREATED.match(statement))}
    for statement in statements:
        indexed, altered = _INDEXED.match(statement), _ALTERED.match(statement)
        if indexed and indexed[1] not in new:
            yield f"builds an index on {indexed[1]} without CONCURRENTLY"
        elif _DROPPED_INDEX.match(statement):
            yield "drops an index without CONCURRENTLY"
        elif altered and altered[1] not in new:
            yield from _alterations(altered[1], altered[2], metadata)


def _alterations(table: str, change: str, metadata: MetaData) -> Iterator[str]:
    for pattern, what in _CHANGES:
        if re.match(pattern, change, re.IGNORECASE):
            yield f"{table}: {what}"
    dropped = _DROPPED_COLUMN.match(change)
    if dropped and table in metadata.tables and dropped[1] in metadata.tables[table].columns:
        yield f"{table}: drops {dropped[1]}, which the models use"


def _contractions(statements: Sequence[str]) -> Iterator[str]:
    for statement in statements:
        altered = _ALTERED.match(statement)
        dropped = _DROPPED_COLUMN.match(altered[2]) if altered else _DROPPED_TABLE.match(statement)
        if dropped:
            yield f"drops {dropped[1]}, which older code may use; set `contracting`"
