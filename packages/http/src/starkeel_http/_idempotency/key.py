"""`Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header): a retried request is executed once."""

import re
from collections.abc import Iterable
from hashlib import blake2b
from typing import Annotated, Any, Final, Literal, NamedTuple, Protocol, final

from litestar import Request
from litestar.exceptions import ClientException, HTTPException, ImproperlyConfiguredException
from litestar.params import HeaderParameter
from litestar.types import Scope

from .._base.headers import Header

IN_FLIGHT: Final = "starkeel_http.idempotent"
"""Key of the request's `InFlightRequest` in `scope["state"]`."""

_DIGEST_BYTES: Final = 32
_TOKEN: Final = re.compile(r"[\x21\x23-\x2b\x2d-\x7e]{1,255}")
# The draft requires a string of RFC 8941; the bare key is accepted as well.
_QUOTED: Final = re.compile(r'"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\]){1,255})"')
_ESCAPED: Final = re.compile(r'\\(["\\])')


class StoredResponse(NamedTuple):
    """A stored response and the fingerprint of its request.

    Args:
        fingerprint: Digest of method, path, query and body of the request.
        status: HTTP status code.
        headers: Headers as the application sent them.
        body: The whole body.
    """

    fingerprint: bytes
    status: int
    headers: list[Header]
    body: bytes


class IdempotencyStore(Protocol):
    """Storage of responses; the plugin of the application that has these methods."""

    async def claim_idempotency_key(
        self, scope: Scope, key: bytes
    ) -> Literal["free", "taken"] | tuple[bytes, int, Iterable[tuple[bytes, bytes]], bytes]:
        """Claim a key for the rest of a request's unit of work, or return its stored response.

        Args:
            scope: Scope of the request.
            key: 32 bytes.

        Returns:
            `free` if the key is claimed, `taken` if a concurrent request has it; or the stored response.
        """

    async def keep_idempotent_answer(
        self, scope: Scope, key: bytes, answer: tuple[bytes, int, list[tuple[bytes, bytes]], bytes]
    ) -> bool:
        """Store a response in the request's unit of work; return False if the key is taken."""


class KeyInUseException(ClientException):
    """A concurrent request has the same key."""

    status_code = 409

    def __init__(self) -> None:
        super().__init__(
            "A request with this `Idempotency-Key` is being processed.", headers={"Retry-After": "1"}
        )


class KeyReusedException(HTTPException):
    """The key was used for a different request."""

    status_code = 422

    def __init__(self) -> None:
        super().__init__(
            "This `Idempotency-Key` was used for a different request. Use a new key for a new request."
        )


class Replay(Exception):
    """Ends a repeated request; the middleware sends the stored response."""


class InFlightRequest:
    """A request with a key, from its claim to its response.

    Args:
        store: Storage of responses.
        keys_in_flight: Keys claimed in this process.
    """

    __slots__ = ("_keys_in_flight", "_store", "fingerprint", "key", "stored")

    def __init__(self, store: IdempotencyStore, keys_in_flight: set[bytes]) -> None:
        self._store = store
        self._keys_in_flight = keys_in_flight
        self.key: bytes | None = None
        self.fingerprint = b""
        self.stored: StoredResponse | None = None

    async def claim(self, scope: Scope, *, key: bytes, fingerprint: bytes) -> None:
        """Claim the key.

        Raises:
            KeyInUseException: A concurrent request has the key.
            KeyReusedException: The key was used for a different request.
            Replay: A response is stored.
        """
        if key in self._keys_in_flight:
            raise KeyInUseException
        self._keys_in_flight.add(key)
        self.key, self.fingerprint = key, fingerprint
        found = await self._store.claim_idempotency_key(scope, key)
        if found == "taken":
            raise KeyInUseException
        if isinstance(found, tuple):
            stored_fingerprint, status, headers, body = found
            if stored_fingerprint != fingerprint:
                raise KeyReusedException
            self.stored = StoredResponse(stored_fingerprint, status, list(headers), body)
            raise Replay

    async def store_response(
        self, scope: Scope, *, status: int, headers: Iterable[Header], body: bytes
    ) -> None:
        """Store the response.

        Raises:
            KeyInUseException: Another request stored a response under the key first.
            ImproperlyConfiguredException: The handler has not claimed the key.
        """
        if self.key is None:
            raise ImproperlyConfiguredException(
                f"{scope.get('route_handler')} requires `idempotency`, but did not call `claim()`"
            )
        response = StoredResponse(self.fingerprint, status, list(headers), body)
        if not await self._store.keep_idempotent_answer(scope, self.key, response):
            raise KeyInUseException

    def release(self) -> None:
        """Release the key."""
        if self.key is not None:
            self._keys_in_flight.discard(self.key)


@final
class Idempotency:
    """The dependency `idempotency`: the request's `Idempotency-Key`, which becomes a required header.

    Args:
        request: The request.
        key: The key as the client sent it, unquoted.
    """

    def __init__(self, request: Request[Any, Any, Any], key: str) -> None:
        self._request = request
        self._key = key

    async def claim(self) -> None:
        """Claim the key, so that the rest of the handler runs once per key.

        If a response is stored, it is sent and the rest of the handler does not run. Responses with a status
        of 400 or above are not stored. Code before the call runs for every request.

        Raises:
            ClientException: A concurrent request has the same key (409).
            HTTPException: The key was used for a different request (422).
            ImproperlyConfiguredException: No guard authenticated the user.
        """
        request = self._request
        subject = getattr(request.scope.get("user"), "subject", None)
        in_flight = request.scope["state"].get(IN_FLIGHT)
        if not isinstance(subject, str) or not isinstance(in_flight, InFlightRequest):
            raise ImproperlyConfiguredException(
                f"{request.route_handler} requires `idempotency`, but no guard set `scope['user']`"
            )
        fingerprint = _digest(
            request.method.encode(),
            request.scope["raw_path"],
            request.scope["query_string"],
            await request.body(),
        )
        key = _digest(subject.encode("utf-8", "surrogatepass"), self._key.encode())
        # The middleware releases the key when the request ends.
        await in_flight.claim(request.scope, key=key, fingerprint=fingerprint)


async def provide_idempotency(
    request: Request[Any, Any, Any],
    idempotency_key: Annotated[
        str,
        HeaderParameter(
            name="Idempotency-Key",
            description="Client-generated unique key, such as a UUID; 1 to 255 visible ASCII characters, in"
            " double quotes or bare. Retries with the same key return the original response.",
        ),
    ],
) -> Idempotency:
    """Provide the dependency `idempotency`.

    Raises:
        ClientException: The header is invalid or repeated.
    """
    if len(request.headers.getall("idempotency-key", [])) != 1:
        raise ClientException("`Idempotency-Key` must be sent exactly once.")
    return Idempotency(request, parse_key(idempotency_key))


def parse_key(text: str) -> str:
    """Parse the header's value, quoted or bare.

    Raises:
        ClientException: The value is invalid.
    """
    text = text.strip(" \t")
    if quoted := _QUOTED.fullmatch(text):
        return _ESCAPED.sub(r"\1", quoted[1])
    if _TOKEN.fullmatch(text):
        return text
    raise ClientException(
        "`Idempotency-Key` must be 1 to 255 visible ASCII characters, preferably in double quotes."
    )


def _digest(*parts: bytes) -> bytes:
    digest = blake2b(digest_size=_DIGEST_BYTES)
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.digest()
