"""Which responses are compressed, and how (RFC 9110, 8.4 and 12.5.3)."""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple

from starkeel_asgi import Header

from .accept_encoding import IDENTITY, accepted_codings
from .encoders import Coding, StreamEncoder

_ACCEPT_ENCODING: Final = b"accept-encoding"
_VARY: Final = (b"vary", b"Accept-Encoding")
_BODILESS: Final = frozenset({204, 205, 206, 304})
"""Statuses without a body that may be encoded: a part of a body keeps the coding of the whole."""
_SAFE: Final = frozenset({"GET", "HEAD"})
_has_no_credentials: Final = frozenset({b"authorization", b"cookie"}).isdisjoint
_is_unaltered: Final = frozenset(
    # A coding, a digest of the encoded content (RFC 9530), a range, and what may be a secret.
    {b"content-encoding", b"content-digest", b"repr-digest", b"digest", b"content-md5", b"content-range"}
    | {b"set-cookie"}
).isdisjoint
_TYPES: Final = frozenset(
    {
        *("application/javascript", "application/json", "application/jsonl", "application/ld+json"),
        *(
            "application/manifest+json",
            "application/wasm",
            "application/x-javascript",
            "application/x-ndjson",
        ),
        *("application/x-yaml", "application/xml", "application/yaml", "font/otf", "font/ttf"),
        *("image/bmp", "image/svg+xml", "image/x-icon"),
    }
)


class Plan(NamedTuple):
    """Coding of a response, and whether it depends on the request.

    Attributes:
        varies: Whether the response depends on `Accept-Encoding`.
        coding: Its coding; `None` if it is not compressed.
    """

    varies: bool
    coding: Coding | None


_UNALTERED: Final = Plan(varies=False, coding=None)
_PLAIN: Final = Plan(varies=True, coding=None)


class Compression:
    """Compresses the responses of routes.

    Args:
        codings: Codings by preference.
        min_bytes: Size of the smallest body that is compressed.
        is_always: Whether responses to requests with credentials, and to other methods than GET and HEAD, are
            compressed as well.
    """

    __slots__ = ("_is_always", "_min_bytes", "codings")

    def __init__(self, codings: tuple[Coding, ...], *, min_bytes: int, is_always: bool) -> None:
        self.codings = codings
        self._min_bytes = min_bytes
        self._is_always = is_always

    def plan(self, exchange: Any, status: int, names: Mapping[bytes, bytes]) -> Plan:
        """Return what a response becomes.

        Args:
            exchange: The exchange.
            status: The status of the response.
            names: Its headers by name.
        """
        length = names.get(b"content-length")
        request = exchange.headers
        is_small = length is not None and len(length) < 10 and int(length) < self._min_bytes
        if is_small and b"q=0" not in request.get(_ACCEPT_ENCODING, b""):
            return _UNALTERED
        if status in _BODILESS or not _may_be_encoded(names):
            return _UNALTERED
        accepted = accepted_codings(request.get(_ACCEPT_ENCODING), self.codings)
        if is_small and IDENTITY in accepted:
            return _UNALTERED
        if not (self._is_always or (exchange.facts[0] in _SAFE and _has_no_credentials(request))):
            return _PLAIN
        if not accepted or accepted[0] == IDENTITY:
            # Nothing else is acceptable, or not even this: the client gets the representation there is.
            return _PLAIN
        return Plan(varies=True, coding=accepted[0])  # type: ignore[arg-type]  # one of the codings

    def shape(
        self, exchange: Any, status: int, given: Iterable[Header], names: dict[bytes, bytes]
    ) -> tuple[int, Iterable[Header]]:
        """Have a response encoded if the request accepts a coding; a `shape_response`."""
        plan = self.plan(exchange, status, names)
        if not plan.varies:
            return status, given
        headers = with_vary(given) if b"vary" in names else [*given, _VARY]
        if plan.coding is None:
            return status, headers
        length = names.get(b"content-length")
        exchange.encode_body(StreamEncoder(plan.coding, None if length is None else int(length)))
        return status, encoded_headers(headers, plan.coding)


def with_vary(headers: Iterable[Header]) -> list[Header]:
    """Return headers whose `Vary` includes `Accept-Encoding`."""
    found = list(headers)
    values = [value for name, value in found if name == b"vary"]
    joined = b", ".join(values)
    members = {member.strip().lower() for member in joined.split(b",")}
    if b"*" in members or _ACCEPT_ENCODING in members:
        return found
    value = b"Accept-Encoding" if not joined else joined + b", Accept-Encoding"
    return [*(header for header in found if header[0] != b"vary"), (b"vary", value)]


def encoded_headers(headers: Iterable[Header], coding: str) -> list[Header]:
    """Return the headers of a response whose body is encoded; the length of the body is not known yet."""
    kept = []
    for name, value in headers:
        if name == b"etag":
            kept.append((name, encoded_tag(value.decode("latin-1"), coding).encode("latin-1")))
        elif name not in {b"content-length", b"accept-ranges"}:
            kept.append((name, value))
    return [*kept, (b"content-encoding", coding.encode())]


def encoded_tag(etag: str, coding: str | None) -> str:
    """Return the tag of an encoded response: another strong one (RFC 9110, 8.8.3.3), the same weak one."""
    if coding is None or etag.startswith("W/") or not etag.endswith('"'):
        return etag
    return f'{etag[:-1]}-{coding}"'


def _may_be_encoded(names: Mapping[bytes, bytes]) -> bool:
    if not (_is_unaltered(names) and _is_compressible(names.get(b"content-type", b""))):
        return False
    directives = names.get(b"cache-control")
    return directives is None or b"no-transform" not in directives.lower()


@lru_cache(256)
def _is_compressible(content_type: bytes) -> bool:
    """Return whether content of a type becomes smaller; never of an event stream."""
    name = content_type.partition(b";")[0].strip().lower().decode("latin-1")
    if name == "text/event-stream":
        return False
    return name.startswith("text/") or name in _TYPES or name.endswith(("+json", "+xml"))
