"""What is told to the outside only once it is true."""

from collections.abc import Callable
from typing import Final

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session, SessionTransaction

from ._session import RequestSession

_ACTIONS: Final = "starkeel_after_commit"


def after_commit(session: AsyncSession, action: Callable[[], None]) -> None:
    """Run `action` once the session's work is committed; never, when it is rolled back.

    Args:
        session: The unit of work.
        action: Must neither block nor raise: the commit has happened.

    Raises:
        TypeError: The session is not one of a `DatabasePlugin`.
    """
    if not isinstance(session.sync_session, RequestSession):
        raise TypeError("only sessions of a DatabasePlugin tell when they commit")
    session.info.setdefault(_ACTIONS, []).append(action)


@event.listens_for(RequestSession, "after_commit")
def _act(session: Session) -> None:
    actions: list[Callable[[], None]] = session.info.pop(_ACTIONS, [])
    for action in actions:
        action()


@event.listens_for(RequestSession, "after_transaction_end")
def _forget(session: Session, transaction: SessionTransaction) -> None:
    if transaction.parent is None:
        session.info.pop(_ACTIONS, None)
