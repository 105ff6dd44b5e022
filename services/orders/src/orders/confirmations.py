"""Confirmation of an order by mail."""

from email.message import EmailMessage
from typing import final
from uuid import UUID

import structlog
from starkeel_config import Backoff
from starkeel_jobs import JobContext, job
from starkeel_mail import MailRefusedError, MailSettings, text_message, transport

from .orders import Order

log = structlog.get_logger(__name__)


@final
class ConfirmationMail:
    """Creates and sends the mail.

    Attributes:
        is_on: Whether there is a destination of mail.
    """

    def __init__(self, settings: MailSettings) -> None:
        self._settings = settings
        self._transport = transport(settings)
        self.is_on = self._transport is not None

    def message(self, order: Order, recipient: str) -> EmailMessage:
        """Return the mail of an order; each attempt to send it has the same `Message-ID`."""
        return text_message(
            self._settings,
            mail_id=f"order-{order.id}",
            recipient=recipient,
            subject="Your order",
            text=(
                "Thank you for your order.\n\n"
                f"Product: {order.product_type}\nQuantity: {order.quantity}\nOrder: {order.id}\n"
            ),
        )

    async def send(self, message: EmailMessage) -> None:
        """Send a mail.

        Raises:
            MailRefusedError: It is refused permanently.
            MailNotSentError: Any other failure.
        """
        if self._transport is not None:
            await self._transport.send(message)


# Greylisting servers accept a mail some minutes after the first attempt; an outage may last for hours.
@job(attempts=60, timeout_s=330.0, backoff=Backoff(base_s=5.0, cap_s=900.0, jitter=0.2))
async def send_order_confirmation(context: JobContext, *, order_id: UUID) -> None:
    """Send the confirmation of an order that is still open."""
    mail = context.resource(ConfirmationMail)
    order = await context.session.get(Order, order_id)
    if order is None or order.status != "open" or order.email is None:
        return
    message = mail.message(order, order.email)
    # The server may take long: return the connection to the pool meanwhile.
    await context.session.close()
    try:
        await mail.send(message)
    except MailRefusedError as error:
        # The text contains no address.
        log.error("order confirmation refused", order_id=str(order_id), reason=str(error))
    else:
        log.info("order confirmation sent", order_id=str(order_id))
