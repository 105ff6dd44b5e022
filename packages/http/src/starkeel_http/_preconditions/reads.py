"""Conditional reads (RFC 9110, 13): 304 for what the client has already, 412 for what it does not expect."""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from hashlib import blake2b
from typing import Any, Final

from litestar import Request
from litestar import Response as LitestarResponse
from litestar.exceptions import HTTPException
from starkeel_asgi import GateOrder, Header, HttpExchange, Response, current

from .._compression.accept_encoding import IDENTITY, AcceptedCodings, accepted_codings
from .._compression.choice import Compression, encoded_tag, with_vary
from .entity_tags import EntityTags

READ_CONDITIONS: Final = frozenset(
    {b"if-match", b"if-none-match", b"if-modified-since", b"if-unmodified-since"}
)
"""Headers of requests that `ReadPreconditions` evaluates."""
_OK: Final = 200
_NOT_MODIFIED: Final = 304
_OF_CONTENT: Final = frozenset({b"content-length", b"content-type", b"content-encoding", b"content-language"})
_CHANGED: Final = "The resource has changed since it was read, or does not exist. Read it again."
_DIGEST_BYTES: Final = 12


def http_date(moment: datetime) -> str:
    """Return an aware time as in `Last-Modified`, whose precision is a second."""
    return format_datetime(moment.astimezone(UTC).replace(microsecond=0), usegmt=True)


def parse_http_date(text: str | None) -> datetime | None:
    """Parse a date of HTTP; `None` for anything else, which RFC 9110, 13.1.3, has recipients ignore."""
    if text is None or len(text) > 40:
        return None
    try:
        moment = parsedate_to_datetime(text)
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
        last_modified: When it was last changed, an aware time. A second change within that second is not
            noticed: pass it only beside a tag, or where a resource does not change so often.
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


class ReadPreconditions:
    """Gate of a GET or HEAD: 304 if the client has the response already, 412 if it requires another one.

    Args:
        exchange: A request with at least one of `READ_CONDITIONS`.
    """

    def __init__(self, exchange: HttpExchange) -> None:
        self._exchange = exchange

    async def __call__(self, response: Response) -> None:
        """Change the response before it is sent; only a 200 with `ETag` or `Last-Modified` is compared."""
        if response.status != _OK:
            return
        names = dict(response.headers)
        etag = names.get(b"etag", b"").decode("latin-1") or None
        modified = parse_http_date(names.get(b"last-modified", b"").decode("latin-1"))
        if etag is None and modified is None:
            return
        compression: Compression | None = getattr(self._exchange.policy, "compression", None)
        plan = None if compression is None else compression.plan(self._exchange, _OK, names)
        varies = plan is not None and plan.varies
        selected = encoded_tag(etag, plan.coding) if plan is not None and etag is not None else etag
        conditions = _Conditions(self._exchange, compression if varies else None)
        is_current, tag = conditions.evaluate(etag, modified, selected=selected)
        if not is_current:
            return
        headers = [header for header in response.headers if _is_kept(header)]
        if tag is not None:
            headers = [(name, tag.encode("latin-1") if name == b"etag" else text) for name, text in headers]
        response.status = _NOT_MODIFIED
        response.headers = with_vary(headers) if varies else headers
        response.body = None if response.body is None else b""
        self._exchange.omit_body()


class BodyTag:
    """Gate that gives a response the weak tag of its body, unless it has a tag.

    Weak, as a coding may change the bytes that are sent. It needs the whole body.
    """

    @classmethod
    def add_to(cls, exchange: HttpExchange) -> None:
        """Have the response to a GET or HEAD get a tag."""
        exchange.buffer_response(lambda status: status == _OK)
        # Before the gate that compares it, which is added later.
        exchange.add_gate(cls(), GateOrder.VERIFY)

    async def __call__(self, response: Response) -> None:
        """Add the tag."""
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
        """Return whether the client has the response, and the tag by which it knows it (RFC 9110, 13.2.2).

        Args:
            etag: The tag of the response without a coding.
            modified: When the resource was last changed.
            selected: The tag of the response as it would be sent.

        Raises:
            HTTPException: 412, it requires another response; 400, a header is malformed.
        """
        if_match, if_none_match = map(self._tags, ("If-Match", "If-None-Match"))
        if if_match is not None:
            is_expected = etag is None or if_match.match(etag)
        else:
            before = parse_http_date(self._text("If-Unmodified-Since"))
            is_expected = before is None or modified is None or modified <= before
        if not is_expected:
            raise HTTPException(_CHANGED, status_code=412)
        if if_none_match is not None:
            tag = None if etag is None else self._known(if_none_match, etag, selected or etag)
            return tag is not None, tag
        since = parse_http_date(self._text("If-Modified-Since"))
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

    def _tags(self, header: str) -> EntityTags | None:
        text = self._text(header)
        return None if text is None else EntityTags.parse(text, header=header)

    def _text(self, header: str) -> str | None:
        text = self._headers.get(header.lower().encode())
        return None if text is None else text.decode("latin-1")


def _is_kept(header: Header) -> bool:
    # RFC 9110, 15.4.5: headers of the content would describe what is not sent.
    return header[0] not in _OF_CONTENT
