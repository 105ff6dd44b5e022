"""What is told to the outside only once it is true."""

from collections.abc import Callable

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncSession


def after_commit(session: AsyncSession, action: Callable[[], None]) -> None:
    """Run `action` once the session's work is committed; never, when it is rolled back.

    Args:
        session: The unit of work.
        action: Must neither block nor raise: the commit has happened.
    """
    event.listen(session.sync_session, "after_commit", lambda _: action(), once=True)
