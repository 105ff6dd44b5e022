"""Messages with the headers that the mail of a service needs."""

import re
from email.message import EmailMessage
from email.utils import formatdate
from typing import Final

from ._settings import MailSettings

_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,200}")


def text_message(
    settings: MailSettings, *, mail_id: str, recipient: str, subject: str, text: str
) -> EmailMessage:
    """Return a message of plain text.

    Args:
        settings: Its sender is that of the message.
        mail_id: Unique name of the mail, such as a UUID: 1 to 200 letters, digits, `.`, `_` and `-`. It must
            be the same in each attempt to send the mail, so that one that is sent twice is recognised by its
            `Message-ID`.
        recipient: Address of the recipient.
        subject: Subject, in one line.
        text: Content.

    Raises:
        ValueError: `MAIL_FROM` is not set, `mail_id` has another character, or an address or the subject has
            a line break.
    """
    sender = settings.sender
    if sender is None:
        raise ValueError("MAIL_FROM is not set: set the sender of all mail")
    if not _ID.fullmatch(mail_id):
        raise ValueError("mail_id is not 1 to 200 letters, digits, '.', '_' and '-': use a UUID")
    mail = EmailMessage()
    mail["From"] = sender
    mail["To"] = recipient
    mail["Subject"] = subject
    mail["Date"] = formatdate()
    mail["Message-ID"] = f"<{mail_id}@{sender.rpartition('@')[2]}>"
    # RFC 3834: no out-of-office replies.
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(text)
    return mail
