"""Mail over SMTP, or to files in development.

Names are imported on first use: the main process of a service reads settings without the rest.
"""

from typing import TYPE_CHECKING

from starkeel_config import lazy_exports

if TYPE_CHECKING:
    from ._message import text_message
    from ._settings import MailSettings
    from ._transports import MailNotSentError, MailRefusedError, MailTransport, transport
else:
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "_message": ["text_message"],
            "_settings": ["MailSettings"],
            "_transports": ["MailNotSentError", "MailRefusedError", "MailTransport", "transport"],
        },
    )

__all__ = [
    "MailNotSentError",
    "MailRefusedError",
    "MailSettings",
    "MailTransport",
    "text_message",
    "transport",
]
