"""The applied revisions of a service, in its database, so that older code can read what newer code has done.

Older code has no files of newer revisions. Each revision is recorded in its own transaction.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from sqlalchemy import Column, Connection, DateTime, MetaData, String, Table, func, inspect, select
from sqlalchemy.schema import CreateTable

from .._base.errors import MigrationError, NewerDatabaseError

HISTORY_TABLES: Final = "alembic_history"
"""Prefix of the tables with the applied revisions."""
CONTRACTING: Final = "contracting"
"""Module variable of a revision that breaks older code: True, or the oldest revision of code that works."""


class Applied(NamedTuple):
    """A revision that was applied, the one before it, and the oldest revision of code that still works."""

    before: str | None
    needs: str | None


class History:
    """The table of the applied revisions.

    Args:
        service: Name of the service.
    """

    def __init__(self, service: str) -> None:
        self._table = Table(
            f"{HISTORY_TABLES}_{service}",
            MetaData(),
            Column("revision", String(255), primary_key=True),
            Column("down_revision", String(255)),
            Column("needs", String(255)),
            Column("applied_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
        )

    def record(self, *, ctx: Any, step: Any, **_: Any) -> None:
        """Record a revision that is being applied, or is rendered as SQL; Alembic's `on_version_apply`."""
        table, script = self._table, step.up_revision
        is_this = table.c.revision == script.revision
        ctx.execute(CreateTable(table, if_not_exists=True))
        # It may have been applied and reverted before.
        ctx.execute(table.delete().where(is_this))
        if step.is_upgrade:
            values = {
                "revision": script.revision,
                "down_revision": script.down_revision,
                "needs": needs(script),
            }
            ctx.execute(table.insert().values(values))

    def read(self, connection: Connection) -> dict[str, Applied]:
        """Return the recorded revisions; empty if none was."""
        if not inspect(connection).has_table(self._table.name):
            return {}
        columns = self._table.c
        rows = connection.execute(select(columns.revision, columns.down_revision, columns.needs))
        return {revision: Applied(before, needed) for revision, before, needed in rows}


def needs(script: Any) -> str | None:
    """Return the oldest revision that code must have which works with the schema of a revision; None for any.

    Raises:
        MigrationError: Its module variable `contracting` has another type.
    """
    mark: object = getattr(script.module, CONTRACTING, False)
    if isinstance(mark, bool):
        return str(script.revision) if mark else None
    if isinstance(mark, str):
        return mark
    raise MigrationError(
        f"{script.revision}: `{CONTRACTING}` is {mark!r}; accepted: True, or the oldest revision of code that"
        " still works"
    )


def check_newer(head: str, names: list[str], history: Mapping[str, Applied]) -> None:
    """Check that code works with a database that newer code has migrated.

    Args:
        head: Revision of the database, which the code does not have.
        names: Revisions of the code, oldest first.
        history: Recorded revisions of the database.

    Raises:
        NewerDatabaseError: A revision that the code does not have is contracting, or the code has revisions
            that the database does not have.
    """
    newest = names[-1] if names else "none"
    at: str | None = head
    passed: set[str] = set()
    while at is not None and at not in names and at in history and at not in passed:
        passed.add(at)
        before, needed = history[at]
        if needed is not None and needed not in names:
            oldest = "it" if needed == at else f"at least {needed}"
            raise NewerDatabaseError(
                f"the database is newer than the code: its revision {at} is contracting, which code without"
                f" {needed} does not work with, and the newest revision here is {newest}; deploy a release"
                f" that has {oldest}, or restore a backup from before {at}"
            )
        at = before
    if at in names and at != newest:
        raise NewerDatabaseError(
            f"the database was migrated by other code: it is at {head}, which follows {at}, but the code has"
            f" {newest}; deploy the code that migrated it, or set the `down_revision` of one to the other"
        )
