"""`Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header): the same request is executed once."""

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
"""Where in `scope["state"]` a request with a key stands."""

_DIGEST_BYTES: Final = 32
_TOKEN: Final = re.compile(r"[\x21\x23-\x2b\x2d-\x7e]{1,255}")
# A string of RFC 8941, as the draft has it; clients that send the bare key are understood as well.
_QUOTED: Final = re.compile(r'"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\]){1,255})"')
_ESCAPED: Final = re.compile(r'\\(["\\])')


class StoredResponse(NamedTuple):
    """An answer, and what it answers.

    Args:
        fingerprint: Of the request.
        status: HTTP status code.
        headers: As the application sent them.
        body: All of it.
    """

    fingerprint: bytes
    status: int
    headers: list[Header]
    body: bytes


class IdempotencyStore(Protocol):
    """What keeps answers; found among an application's plugins by these methods."""

    async def claim_idempotency_key(
        self, scope: Scope, key: bytes
    ) -> Literal["free", "taken"] | tuple[bytes, int, Iterable[tuple[bytes, bytes]], bytes]:
        """Claim a key for the rest of a request's unit of work, or return what was kept under it.

        Args:
            scope: The request's.
            key: 32 bytes.

        Returns:
            Whether it is now this request's, or another's that is being worked on; or the kept answer.
        """

    async def keep_idempotent_answer(
        self, scope: Scope, key: bytes, answer: tuple[bytes, int, list[tuple[bytes, bytes]], bytes]
    ) -> bool:
        """Write an answer in the request's unit of work; whether the key was still free."""


class KeyInUseException(ClientException):
    """A request with this key is being worked on."""

    status_code = 409

    def __init__(self) -> None:
        super().__init__(
            "A request with this `Idempotency-Key` is being worked on.", headers={"Retry-After": "1"}
        )


class KeyReusedException(HTTPException):
    """The key was another request's."""

    status_code = 422

    def __init__(self) -> None:
        super().__init__(
            "This `Idempotency-Key` was sent with another request before. Take a new one for a new request."
        )


class Replay(Exception):
    """The request was answered before; the answer stands in its flight."""


class InFlightRequest:
    """A request with a key, from its claim to its answer.

    Args:
        store: What keeps answers.
        keys_in_flight: The keys that this process works on.
    """

    __slots__ = ("_keys_in_flight", "_store", "fingerprint", "key", "stored")

    def __init__(self, store: IdempotencyStore, keys_in_flight: set[bytes]) -> None:
        self._store = store
        self._keys_in_flight = keys_in_flight
        self.key: bytes | None = None
        self.fingerprint = b""
        self.stored: StoredResponse | None = None

    async def claim(self, scope: Scope, *, key: bytes, fingerprint: bytes) -> None:
        """Go on as the only one with this key.

        Raises:
            KeyInUseException: There is another.
            KeyReusedException: Its request was not this one.
            Replay: It has been answered.
        """
        if key in self._keys_in_flight:
            raise KeyInUseException
        self._keys_in_flight.add(key)
        self.key, self.fingerprint = key, fingerprint
        found = await self._store.claim_idempotency_key(scope, key)
        if found == "taken":
            raise KeyInUseException
        if isinstance(found, tuple):
            fingerprint_of_stored, status, headers, body = found
            if fingerprint_of_stored != fingerprint:
                raise KeyReusedException
            self.stored = StoredResponse(fingerprint_of_stored, status, list(headers), body)
            raise Replay

    async def store_response(
        self, scope: Scope, *, status: int, headers: Iterable[Header], body: bytes
    ) -> None:
        """Keep the answer.

        Raises:
            KeyInUseException: Another was faster.
            ImproperlyConfiguredException: The handler has not claimed the key.
        """
        if self.key is None:
            raise ImproperlyConfiguredException(
                f"{scope.get('route_handler')} takes `idempotency` and never calls `claim()`"
            )
        answer = StoredResponse(self.fingerprint, status, list(headers), body)
        if not await self._store.keep_idempotent_answer(scope, self.key, answer):
            raise KeyInUseException

    def release(self) -> None:
        """Let the key go, whatever became of the request."""
        if self.key is not None:
            self._keys_in_flight.discard(self.key)


@final
class Idempotency:
    """The key of a request, as the dependency `idempotency`; a handler that takes it requires the header.

    Args:
        request: The request.
        key: As the client chose it.
    """

    def __init__(self, request: Request[Any, Any, Any], key: str) -> None:
        self._request = request
        self._key = key

    async def claim(self) -> None:
        """Go on only if this request has not been answered before, and nobody is about to.

        What the handler does before is done each time; what it does after that, once. The answer to a request
        that was answered before is given here: nothing after this runs. An answer from 400 on is not kept.

        Raises:
            ClientException: A request with this key is being worked on (409).
            HTTPException: The key was another request's (422).
            ImproperlyConfiguredException: No guard has found out who the user is.
        """
        request = self._request
        subject = getattr(request.scope.get("user"), "subject", None)
        in_flight = request.scope["state"].get(IN_FLIGHT)
        if not isinstance(subject, str) or not isinstance(in_flight, InFlightRequest):
            raise ImproperlyConfiguredException(
                f"{request.route_handler} takes `idempotency`, but no guard of it finds out who the user is"
            )
        fingerprint = _digest(
            request.method.encode(),
            request.scope["raw_path"],
            request.scope["query_string"],
            await request.body(),
        )
        key = _digest(subject.encode("utf-8", "surrogatepass"), self._key.encode())
        # Held until the middleware ends the flight, and no longer than the request.
        await in_flight.claim(request.scope, key=key, fingerprint=fingerprint)


async def provide_idempotency(
    request: Request[Any, Any, Any],
    idempotency_key: Annotated[
        str,
        HeaderParameter(
            name="Idempotency-Key",
            description="Of the client's choosing, a UUID perhaps; 1 to 255 visible characters, in double"
            " quotes or without. The same request with the same key is executed once and answered alike.",
        ),
    ],
) -> Idempotency:
    """Read the header.

    Raises:
        ClientException: It is no key.
    """
    if len(request.headers.getall("idempotency-key", [])) != 1:
        raise ClientException("`Idempotency-Key` must be sent once.")
    return Idempotency(request, parse_key(idempotency_key))


def parse_key(text: str) -> str:
    """Read the header's value.

    Raises:
        ClientException: It is no key.
    """
    text = text.strip(" \t")
    if quoted := _QUOTED.fullmatch(text):
        return _ESCAPED.sub(r"\1", quoted[1])
    if _TOKEN.fullmatch(text):
        return text
    raise ClientException(
        "`Idempotency-Key` must be 1 to 255 visible ASCII characters, best in double quotes."
    )


def _digest(*parts: bytes) -> bytes:
    digest = blake2b(digest_size=_DIGEST_BYTES)
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.digest()
