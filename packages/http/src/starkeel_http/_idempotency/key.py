"""`Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header): a retried request is executed once."""

import re
from collections.abc import Callable, Iterable
from hashlib import blake2b
from typing import Annotated, Any, Final, Literal, NamedTuple, Protocol, final

from litestar import Request
from litestar.exceptions import ClientException, HTTPException, ImproperlyConfiguredException
from litestar.params import HeaderParameter
from litestar.types import Scope
from starkeel_asgi import GateOrder, Header, HttpExchange, Response, current

_DIGEST_BYTES: Final = 32
_FIRST_ERROR: Final = 400
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


class _InFlightRequest:
    """A request with a key, from its claim to its response.

    Args:
        exchange: The request.
        store: Stores responses.
        keys_in_flight: Keys of the requests that this process works on.
    """

    __slots__ = ("_exchange", "_keys_in_flight", "_store", "_stored", "fingerprint", "key")

    def __init__(self, exchange: HttpExchange, store: IdempotencyStore, keys_in_flight: set[bytes]) -> None:
        self._exchange = exchange
        self._store = store
        self._keys_in_flight = keys_in_flight
        self.key: bytes | None = None
        self.fingerprint = b""
        self._stored: StoredResponse | None = None
        exchange.buffer_response(self._is_buffered)
        exchange.add_gate(self._store_response, GateOrder.STORE)
        exchange.add_cleanup(self._release)

    async def claim(self, *, key: bytes, fingerprint: bytes) -> None:
        """Claim the key for this request.

        Raises:
            KeyInUseException: Another request with this key is in progress.
            KeyReusedException: The key belongs to a different request.
            Replay: The request has a stored response.
        """
        if key in self._keys_in_flight:
            raise KeyInUseException
        self._keys_in_flight.add(key)
        self.key, self.fingerprint = key, fingerprint
        found = await self._store.claim_idempotency_key(self._exchange.scope, key)
        if found == "taken":
            raise KeyInUseException
        if isinstance(found, tuple):
            stored_fingerprint, status, headers, body = found
            if stored_fingerprint != fingerprint:
                raise KeyReusedException
            self._stored = StoredResponse(stored_fingerprint, status, list(headers), body)
            raise Replay

    def _is_buffered(self, status: int) -> bool:
        return self._stored is not None or status < _FIRST_ERROR

    async def _store_response(self, response: Response) -> None:
        """Store the response, or replace it by the stored one; runs before the unit of work commits."""
        if response.body is None:
            return
        if (stored := self._stored) is not None:
            response.status, response.headers, response.body = stored.status, stored.headers, stored.body
            return
        scope = self._exchange.scope
        if self.key is None:
            raise ImproperlyConfiguredException(
                f"{scope.get('route_handler')} requires `idempotency`, but did not call `claim()`"
            )
        stored = StoredResponse(self.fingerprint, response.status, response.headers, response.body)
        if not await self._store.keep_idempotent_answer(scope, self.key, stored):
            raise KeyInUseException

    async def _release(self) -> None:
        if self.key is not None:
            self._keys_in_flight.discard(self.key)


@final
class Idempotency:
    """The dependency `idempotency`: the request's `Idempotency-Key`, which becomes a required header.

    Args:
        request: The request.
        key: The client's key.
        in_flight: Claims it.
    """

    def __init__(self, request: Request[Any, Any, Any], key: str, in_flight: _InFlightRequest) -> None:
        self._request = request
        self._key = key
        self._in_flight = in_flight

    async def claim(self) -> None:
        """Continue only if this request is new: neither in progress nor completed before.

        Work before this call is repeated with each retry; work after it is executed once. A
        completed request gets its stored response, and nothing after this call runs. Responses with status
        400 or higher are not stored.

        Raises:
            ClientException: A request with this key is in progress (409).
            HTTPException: The key was used for a different request (422).
            ImproperlyConfiguredException: The route has no guard that authenticates the user.
        """
        request = self._request
        subject = getattr(request.scope.get("user"), "subject", None)
        if not isinstance(subject, str):
            raise ImproperlyConfiguredException(
                f"{request.route_handler} takes `idempotency`, but none of its guards authenticates the user"
            )
        fingerprint = _digest(
            request.method.encode(),
            request.scope["raw_path"],
            request.scope["query_string"],
            await request.body(),
        )
        key = _digest(subject.encode("utf-8", "surrogatepass"), self._key.encode())
        await self._in_flight.claim(key=key, fingerprint=fingerprint)


class IdempotencyProvider:
    """Provides the dependency `idempotency`.

    Args:
        store: Returns what stores responses, once the application has started.
    """

    def __init__(self, store: Callable[[], IdempotencyStore]) -> None:
        self._store = store
        self._keys_in_flight: set[bytes] = set()

    async def provide(
        self,
        request: Request[Any, Any, Any],
        idempotency_key: Annotated[
            str,
            HeaderParameter(
                name="Idempotency-Key",
                description="Client-generated unique key, such as a UUID; 1 to 255 visible ASCII characters,"
                " in double quotes or bare. Retries with the same key return the original response.",
            ),
        ],
    ) -> Idempotency:
        """Parse the header.

        Raises:
            ClientException: The header is missing, repeated or malformed.
        """
        if len(request.headers.getall("idempotency-key", [])) != 1:
            raise ClientException("`Idempotency-Key` must be sent exactly once.")
        key = parse_key(idempotency_key)
        exchange = current(request.scope)
        assert isinstance(exchange, HttpExchange)
        return Idempotency(request, key, _InFlightRequest(exchange, self._store(), self._keys_in_flight))


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
