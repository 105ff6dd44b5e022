"""Statement that PostgreSQL executes together with a COMMIT, in one round trip."""

from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session


class LastStatement:
    """The last statement of a transaction.

    Attributes:
        text: The statement, without parameters.
        refusal: Text in the message of the error by which the statement prevents the commit.
        is_sent: Whether it is committed; not where a session has no transaction in the database.
    """

    __slots__ = ("is_sent", "refusal", "text")

    def __init__(self, text: str, refusal: str) -> None:
        self.text = text
        self.refusal = refusal
        self.is_sent = False


async def send_with_commit(session: AsyncSession, text: str, *, refusal: str) -> LastStatement:
    """Execute a statement at the end of a unit of work on PostgreSQL, in the round trip of its COMMIT.

    Args:
        session: Session of the unit of work; what it has not flushed yet is written before the statement.
        text: The statement, without parameters.
        refusal: Text in the message of the error by which the statement prevents the commit, which then
            fails with `CommitRefusedError`.
    """
    last = LastStatement(text, refusal)

    def add(sync_session: Session) -> None:
        driver: Any = sync_session.connection().connection.driver_connection
        driver.last_statement = last

    await session.run_sync(add)
    return last


def forget_last_statements(engine: Engine) -> None:
    """Remove a statement that was not sent from a connection that is returned to the pool."""

    @event.listens_for(engine, "checkin")
    def forget(connection: Any, _: Any) -> None:
        if connection is not None:
            connection.driver_connection.last_statement = None
