"""Hourly deletion of what is no longer valid."""

from starkeel_jobs import JobContext, schedule

from .mail_requests import delete_sent
from .one_time_tokens import delete_expired
from .sent_mails import delete_counted
from .sessions import delete_old_sessions

_BATCH = 1000


@schedule("23 * * * *")
async def delete_expired_rows(context: JobContext) -> None:
    """Delete sessions without a valid token, expired one-time tokens, and mails that count for no limit."""
    for delete in (delete_old_sessions, delete_expired, delete_counted, delete_sent):
        # Each batch in a transaction of its own: rows are locked for a short time only.
        while await delete(context.session) >= _BATCH:
            await context.session.commit()
