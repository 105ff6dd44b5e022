"""Conditional reads (RFC 9110, 13): 304 for what the client has already, 412 for what it does not expect."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from hashlib import blake2b
from typing import Any, Final

from litestar import Request
from litestar import Response as LitestarResponse
from litestar.exceptions import HTTPException
from starkeel_asgi import GateOrder, Header, HttpExchange, Response, current

from .._base.route_options import Policy
from .._compression.accept_encoding import IDENTITY, AcceptedCodings, accepted_codings
from .._compression.choice import Compression, encoded_tag, with_vary
from .entity_tags import EntityTags

READ_CONDITIONS: Final = frozenset(
    {b"if-match", b"if-none-match", b"if-modified-since", b"if-unmodified-since"}
)
"""Headers of requests that `evaluate_conditions` evaluates."""
_READS: Final = frozenset({"GET", "HEAD"})
_OK: Final = 200
_NOT_MODIFIED: Final = 304
# RFC 9110, 15.4.5: headers of the content would describe what is not sent.
_OF_CONTENT: Final = frozenset({b"content-length", b"content-type", b"content-encoding", b"content-language"})
_CHANGED: Final = "The resource has changed since it was read, or does not exist. Read it again."
_DIGEST_BYTES: Final = 12


def http_date(moment: datetime) -> str:
    """Return an aware time as in `Last-Modified`, whose precision is a second."""
    return format_datetime(moment.astimezone(UTC).replace(microsecond=0), usegmt=True)


def parse_http_date(text: bytes | None) -> datetime | None:
    """Parse a date of HTTP; `None` for anything else, which RFC 9110, 13.1.3, has recipients ignore."""
    if text is None or len(text) > 40:
        return None
    try:
        moment = parsedate_to_datetime(text.decode("latin-1"))
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def not_modified(
    request: Request[Any, Any, Any],
    *,
    etag: str | None = None,
    last_modified: datetime | None = None,
    headers: Mapping[str, str] | None = None,
) -> LitestarResponse[Any] | None:
    """Return a 304 if the client has the current version, before the handler does the work of a 200.

    Args:
        request: A GET or HEAD.
        etag: The tag of the current version.
        last_modified: When it was last changed, an aware time. Without a tag, a second change within
            the same second is missed.
        headers: Further headers that the 200 would have (RFC 9110, 15.4.5), such as `Cache-Control`.

    Raises:
        HTTPException: 412, the client requires another version; 400, a header is malformed.
    """
    exchange = current(request.scope)
    assert isinstance(exchange, HttpExchange), "the application has no HttpPlugin"
    compression: Compression | None = getattr(exchange.policy, "compression", None)
    conditions = _Conditions(exchange, compression)
    modified = None if last_modified is None else last_modified.astimezone(UTC).replace(microsecond=0)
    is_current, tag = conditions.evaluate(etag, modified, selected=etag)
    if not is_current:
        return None
    kept = dict(headers or {})
    kept |= {} if tag is None else {"ETag": tag}
    kept |= {} if modified is None else {"Last-Modified": http_date(modified)}
    if compression is not None:
        # The 200 varies if it is large enough.
        members = kept.pop("Vary", "")
        [(_, vary)] = with_vary([(b"vary", members.encode())] if members else [])
        kept["Vary"] = vary.decode()
    return LitestarResponse(None, status_code=_NOT_MODIFIED, headers=kept)


def prepare_read(exchange: HttpExchange, policy: Policy) -> None:
    """Have the response to a request that has a condition, or whose route has `entity_tag`, follow them.

    A request that is not a GET or HEAD changes something: its handler calls `check_preconditions`.
    """
    if exchange.facts[0] in _READS:
        exchange.shape_response = evaluate_conditions
        if policy.has_entity_tag:
            exchange.buffer_response(lambda status: status == _OK)
            exchange.add_gate(_add_body_tag, GateOrder.VERIFY)
    elif policy.compression is not None:
        exchange.shape_response = policy.compression.shape


def evaluate_conditions(
    exchange: HttpExchange, status: int, given: Iterable[Header], names: dict[bytes, bytes]
) -> tuple[int, Iterable[Header]]:
    """Respond with 304 if the client has a 200 already; the `shape_response` of a GET or HEAD.

    Only a 200 with `ETag` or `Last-Modified` is compared.

    Raises:
        HTTPException: 412, the client requires another response; 400, a header is malformed.
    """
    compression: Compression | None = exchange.policy.compression
    tag = names.get(b"etag")
    if status == _OK and (tag is not None or b"last-modified" in names):
        plan = None if compression is None else compression.plan(exchange, _OK, names)
        varies = plan is not None and plan.varies
        etag = None if tag is None else tag.decode("latin-1")
        selected = encoded_tag(etag, plan.coding) if plan is not None and etag is not None else etag
        conditions = _Conditions(exchange, compression if varies else None)
        modified = parse_http_date(names.get(b"last-modified"))
        is_current, known = conditions.evaluate(etag, modified, selected=selected)
        if is_current:
            headers = [header for header in given if header[0] not in _OF_CONTENT]
            if known is not None and known != etag:
                headers = [each for each in headers if each[0] != b"etag"]
                headers.append((b"etag", known.encode("latin-1")))
            exchange.omit_body()
            return _NOT_MODIFIED, with_vary(headers) if varies else headers
    return (status, given) if compression is None else compression.shape(exchange, status, given, names)


async def _add_body_tag(response: Response) -> None:
    """Give a response the tag of its body, unless it has one; weak, as codings change the bytes."""
    if response.status == _OK and response.body and b"etag" not in dict(response.headers):
        digest = blake2b(response.body, digest_size=_DIGEST_BYTES).hexdigest()
        response.headers.append((b"etag", f'W/"{digest}"'.encode()))


class _Conditions:
    """The conditional headers of a request.

    Args:
        exchange: The request.
        compression: How the response may be compressed; `None` if it is not.
    """

    def __init__(self, exchange: HttpExchange, compression: Compression | None) -> None:
        self._headers = exchange.headers
        self._compression = compression

    def evaluate(
        self, etag: str | None, modified: datetime | None, *, selected: str | None
    ) -> tuple[bool, str | None]:
        """Return whether the client has the response, and the tag under which it has it (RFC 9110, 13.2.2).

        Args:
            etag: The tag of the response without a coding.
            modified: When the resource was last changed.
            selected: The tag of the response as it would be sent.

        Raises:
            HTTPException: 412, it requires another response; 400, a header is malformed.
        """
        headers = self._headers
        if (if_match := headers.get(b"if-match")) is not None:
            tags = EntityTags.parse(if_match.decode("latin-1"))
            is_expected = etag is None or tags.match(etag)
        else:
            before = parse_http_date(headers.get(b"if-unmodified-since"))
            is_expected = before is None or modified is None or modified <= before
        if not is_expected:
            raise HTTPException(_CHANGED, status_code=412)
        if (if_none_match := headers.get(b"if-none-match")) is not None:
            text = if_none_match.decode("latin-1")
            if text == selected:
                # As almost every client sends it.
                return True, selected
            tags = EntityTags.parse(text, header="If-None-Match")
            tag = None if etag is None else self._known(tags, etag, selected or etag)
            return tag is not None, tag
        since = parse_http_date(headers.get(b"if-modified-since"))
        return since is not None and modified is not None and modified <= since, selected

    def _known(self, tags: EntityTags, etag: str, selected: str) -> str | None:
        """Return the tag under which the client has a response that it may use now; `None` if it has none.

        A cache that has several variants selects the one whose tag the 304 has (RFC 9111, 4.3.4): it must not
        be one with a coding that this client does not accept.
        """
        if tags.values is None:
            return selected
        if not tags.match(etag):
            return None
        accept_encoding = self._headers.get(b"accept-encoding")
        if self._compression is not None:
            for coding in accepted_codings(accept_encoding, self._compression.codings):
                variant = etag if coding == IDENTITY else encoded_tag(etag, coding)
                if variant in tags.listed:
                    return variant
        accepted = AcceptedCodings(accept_encoding)
        # A proxy marks what it sends, and adapts the tag of a 304 itself.
        return etag if any(map(accepted.weight, tags.codings_of(etag))) else None
