"""From a request to who asks."""

from typing import final

import structlog

from ._challenges import bad_token, cannot_tell, no_token
from ._credentials import Connection, token_of
from ._errors import KeysUnavailableError, TokenError
from ._principal import Principal
from ._verifier import TokenVerifier

log = structlog.get_logger(__name__)


@final
class Authenticator:
    """Finds out who a request is from.

    Args:
        verifier: What tokens are verified by.
        realm: What is protected: the audience.
    """

    def __init__(self, verifier: TokenVerifier, *, realm: str) -> None:
        self._verifier = verifier
        self.realm = realm

    async def principal(self, connection: Connection) -> Principal:
        """Return who the request is from, from then on `scope["user"]`, verifying its token once.

        Raises:
            NotAuthorizedException: It shows no token, or one that is not accepted.
            ServiceUnavailableException: Nobody can tell at the moment.
        """
        known = connection.scope.get("user")
        if isinstance(known, Principal):
            return known
        principal = await self._verified(connection)
        connection.scope["user"] = principal
        structlog.contextvars.bind_contextvars(user_id=principal.subject)
        return principal

    async def _verified(self, connection: Connection) -> Principal:
        try:
            token = token_of(connection)
            if token is None:
                raise no_token(self.realm)
            claims = await self._verifier.verify(token)
        except TokenError as error:
            log.info("token refused", reason=str(error))
            raise bad_token(self.realm, str(error)) from None
        except KeysUnavailableError as error:
            raise cannot_tell() from error
        return Principal(
            subject=claims.sub,
            scopes=frozenset(claims.scope.split(" ")) - {""},
            token=token,
            client_id=claims.client_id,
            expires_at=claims.exp,
        )
