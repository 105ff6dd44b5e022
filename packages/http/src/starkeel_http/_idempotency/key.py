"""`Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header): a retried request is executed once."""

import re
from collections.abc import Iterable
from hashlib import blake2b
from typing import Annotated, Any, Final, final

from litestar import Request
from litestar import Response as LitestarResponse
from litestar.exceptions import (
    ClientException,
    HTTPException,
    ImproperlyConfiguredException,
    ValidationException,
)
from litestar.openapi.spec import Example
from litestar.params import HeaderParameter
from starkeel_asgi import GateOrder, Header, HttpExchange, Response, current
from starkeel_config import IdempotencyStore

_HEADER: Final = "Idempotency-Key"
_DIGEST_BYTES: Final = 32
_FIRST_ERROR: Final = 400
_TOKEN: Final = re.compile(r"[\x21\x23-\x2b\x2d-\x7e]{1,255}")
# The draft requires a string of RFC 8941; the bare key is accepted as well.
_QUOTED: Final = re.compile(r'"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\]){1,255})"')
KEY_PATTERN: Final = rf"^(?:{_TOKEN.pattern}|{_QUOTED.pattern})$"
"""Pattern of the header's value in the OpenAPI document."""
_ESCAPED: Final = re.compile(r'\\(["\\])')

_REUSED: Final = "This `Idempotency-Key` was used for a different request. Use a new key for a new request."


class Replay(Exception):
    """Ends a repeated request, which gets the stored response."""


def empty_response(_: Request[Any, Any, Any], _error: Exception) -> LitestarResponse[bytes]:
    """Return the response to `Replay`, which a gate replaces by the stored one."""
    return LitestarResponse(b"", status_code=200)


@final
class Idempotency:
    """The dependency `idempotency`: the request's `Idempotency-Key`, which becomes a required header.

    Args:
        request: The request.
        client_key: The client's key.
        store: Stores responses.
        keys_in_flight: Keys of the requests that this process works on.
    """

    def __init__(
        self,
        request: Request[Any, Any, Any],
        client_key: str,
        *,
        store: IdempotencyStore,
        keys_in_flight: set[bytes],
    ) -> None:
        exchange = current(request.scope)
        assert isinstance(exchange, HttpExchange)
        self._request = request
        self._exchange = exchange
        self._client_key = client_key
        self._store = store
        self._keys_in_flight = keys_in_flight
        self._key: bytes | None = None
        self._fingerprint = b""
        self._stored: tuple[bytes, int, Iterable[Header], bytes] | None = None
        exchange.buffer_response(self._is_buffered)
        exchange.add_gate(self._store_response, GateOrder.STORE)
        exchange.add_cleanup(self._release)

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
        body = await request.body()
        parts = request.method.encode(), request.scope["raw_path"], request.scope["query_string"], body
        fingerprint = _digest(*parts)
        key = _digest(subject.encode("utf-8", "surrogatepass"), self._client_key.encode())
        if key in self._keys_in_flight:
            raise _key_in_use()
        self._keys_in_flight.add(key)
        self._key, self._fingerprint = key, fingerprint
        found = await self._store.claim_idempotency_key(self._exchange.scope, key)
        if found == "taken":
            raise _key_in_use()
        if isinstance(found, tuple):
            if found[0] != fingerprint:
                raise HTTPException(_REUSED, status_code=422)
            self._stored = found
            raise Replay

    def _is_buffered(self, status: int) -> bool:
        return self._stored is not None or status < _FIRST_ERROR

    async def _store_response(self, response: Response) -> None:
        """Store the response, or replace it by the stored one; runs before the unit of work commits."""
        if response.body is None:
            return
        if self._stored is not None:
            _, response.status, headers, response.body = self._stored
            response.headers = list(headers)
            return
        scope = self._exchange.scope
        if self._key is None:
            raise ImproperlyConfiguredException(
                f"{scope.get('route_handler')} requires `idempotency`, but did not call `claim()`"
            )
        answer = self._fingerprint, response.status, response.headers, response.body
        if not await self._store.keep_idempotent_answer(scope, self._key, answer):
            raise _key_in_use()

    async def _release(self) -> None:
        if self._key is not None:
            self._keys_in_flight.discard(self._key)


class IdempotencyProvider:
    """Provides the dependency `idempotency`; `store` is set when the application starts."""

    def __init__(self) -> None:
        self.store: IdempotencyStore | None = None
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
                examples=[Example(value="01b7e6d4-8f0c-4c55-9d3e-2a6f0c1d9e37")],
                schema_extra={"pattern": KEY_PATTERN},
            ),
        ],
    ) -> Idempotency:
        """Parse the header.

        Raises:
            ClientException: The header is missing, repeated or malformed.
        """
        if len(request.headers.getall("idempotency-key", [])) != 1:
            extra = [{"key": _HEADER, "message": "must be sent exactly once", "source": "header"}]
            raise ValidationException(f"`{_HEADER}` must be sent exactly once.", extra=extra)
        assert self.store is not None
        key = parse_key(idempotency_key)
        return Idempotency(request, key, store=self.store, keys_in_flight=self._keys_in_flight)


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
    message = "must be 1 to 255 visible ASCII characters, preferably in double quotes."
    extra = [{"key": _HEADER, "message": message.rstrip("."), "source": "header"}]
    raise ValidationException(f"`{_HEADER}` {message}", extra=extra)


def _key_in_use() -> ClientException:
    return ClientException(
        "A request with this `Idempotency-Key` is being processed.",
        status_code=409,
        headers={"Retry-After": "1"},
    )


def _digest(*parts: bytes) -> bytes:
    digest = blake2b(digest_size=_DIGEST_BYTES)
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.digest()
