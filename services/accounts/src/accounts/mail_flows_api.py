"""Endpoints for the verification of addresses and for password resets."""

from litestar import Controller, MediaType, post
from litestar.di import NamedDependency
from litestar.params import JSONBody
from sqlalchemy.ext.asyncio import AsyncSession
from starkeel_http import limit_by_address, problem_responses

from .emails import EmailAddress
from .mail_flows import MailFlows, TokenNotAcceptedError
from .mail_sending import MailRequests
from .passwords import PasswordPolicy
from .schemas import AddressGiven, PasswordReset, TokenGiven, rejected, validated
from .sessions import Sessions


class MailFlowController(Controller):
    """Verification of email addresses, and password resets."""

    path = "/api/auth"
    tags = ("mail",)
    opt = limit_by_address("mail")

    @post(
        "/email-verification",
        summary="Request a verification mail",
        status_code=202,
        # Not a JSON `null`.
        media_type=MediaType.TEXT,
        response_description="A mail is sent if the address is registered and not verified.",
        responses=problem_responses(400, 413, 415, 429, 503),
    )
    async def request_verification(
        self,
        data: JSONBody[AddressGiven],
        mails: NamedDependency[MailRequests],
        session: NamedDependency[AsyncSession],
    ) -> None:
        """Send a mail with a token for `confirm`, which makes those of earlier mails useless.

        Neither the response nor its duration reveals whether the address is registered.
        """
        await mails.add(session, "verify_email", validated("email", EmailAddress.parse, data.email))

    @post(
        "/email-verification/confirm",
        summary="Verify an email address",
        status_code=204,
        response_description="The address is verified.",
        responses=problem_responses(400, 413, 415, 429, 503),
    )
    async def verify(self, data: JSONBody[TokenGiven], flows: NamedDependency[MailFlows]) -> None:
        """Use the token of a verification mail. It can be used once, and not after the password changed."""
        try:
            await flows.verify_email(data.token)
        except TokenNotAcceptedError as error:
            raise rejected("token", error) from error

    @post(
        "/password-reset",
        summary="Request a password reset",
        status_code=202,
        # Not a JSON `null`.
        media_type=MediaType.TEXT,
        response_description="A mail is sent if the address is registered.",
        responses=problem_responses(400, 413, 415, 429, 503),
    )
    async def request_reset(
        self,
        data: JSONBody[AddressGiven],
        mails: NamedDependency[MailRequests],
        session: NamedDependency[AsyncSession],
    ) -> None:
        """Send a mail with a token for `confirm`, which makes those of earlier mails useless.

        Neither the response nor its duration reveals whether the address is registered.
        """
        await mails.add(session, "reset_password", validated("email", EmailAddress.parse, data.email))

    @post(
        "/password-reset/confirm",
        summary="Reset the password",
        status_code=204,
        response_description="The password is set, and all sessions have ended.",
        responses=problem_responses(400, 413, 415, 429, 503),
    )
    async def reset(
        self,
        data: JSONBody[PasswordReset],
        flows: NamedDependency[MailFlows],
        sessions: NamedDependency[Sessions],
        password_policy: NamedDependency[PasswordPolicy],
    ) -> None:
        """Set a new password with the token of a mail; all sessions of the user end.

        The token can be used once, and not after the password changed. The address is verified as well.
        """

        def validate(email: str) -> str:
            return validated("new_password", password_policy.validate, data.new_password, email)

        try:
            user = await flows.reset_password(data.token, validate)
        except TokenNotAcceptedError as error:
            raise rejected("token", error) from error
        await sessions.end_all(user.id, "password_reset")
