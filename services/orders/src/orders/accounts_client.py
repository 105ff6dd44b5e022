"""Client of accounts, generated from docs/openapi/accounts.json by `just clients`: do not edit."""

from dataclasses import dataclass
from uuid import UUID

from msgspec import Struct
from starkeel_client import UpstreamClient


class Profile(Struct, frozen=True, kw_only=True):
    """Profile."""

    email: str
    email_verified: bool
    id: UUID


@dataclass(frozen=True, slots=True)
class AccountsClient:
    """Operations of accounts that this service calls."""

    upstream: UpstreamClient

    async def me(self, *, token: str) -> Profile:
        """Get the current user.

        Raises:
            UpstreamProblemError: The status is 401, 403 or 429.
        """
        response = await self.upstream.request(
            "GET", "/api/users/me", route="/api/users/me", headers={"Authorization": f"Bearer {token}"}
        )
        return self.upstream.decode(response, Profile, status=(200,), problems=(401, 403, 429))
