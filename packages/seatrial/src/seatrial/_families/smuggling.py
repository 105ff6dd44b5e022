"""Rows about requests whose length is ambiguous, sent as raw bytes."""

from collections.abc import Sequence
from functools import partial
from typing import Literal, NamedTuple

from .._rows.row import Category, Remedy, Row, Severity
from .._rows.verdict import Evidence, Judgement, Undecided, failed, passed
from .._target.exchange import Exchange
from .._target.service import Service

_REFUSALS = {400, 411, 413, 414, 417, 431, 501, 505}
_MARKER = "/seatrial-smuggled"


class Case(NamedTuple):
    """A malformed request.

    Attributes:
        name: What is wrong.
        head: Header lines about the length.
        body: Bytes after the head.
        rule: `refuse`: it must be refused and the connection closed. `close`: a response is allowed if the
            connection is closed after it, so that what follows is never read as a request.
    """

    name: str
    head: Sequence[bytes]
    body: bytes
    rule: Literal["refuse", "close"]


_CHUNKED = b"Transfer-Encoding: chunked"
_END = b"0\r\n\r\n"

BOTH_LENGTHS = (
    Case("Content-Length and Transfer-Encoding", (b"Content-Length: 5", _CHUNKED), _END, "close"),
    Case("Transfer-Encoding and Content-Length", (_CHUNKED, b"Content-Length: 5"), _END, "close"),
    Case(
        "folded Transfer-Encoding", (b"Content-Length: 5", b"Transfer-Encoding:\r\n chunked"), _END, "close"
    ),
)
CONTENT_LENGTH = (
    Case("two different lengths", (b"Content-Length: 5", b"Content-Length: 0"), b"", "refuse"),
    Case("a list of lengths", (b"Content-Length: 0, 5",), b"", "refuse"),
    Case("a length with a sign", (b"Content-Length: +0",), b"", "refuse"),
    Case("a negative length", (b"Content-Length: -1",), b"", "refuse"),
    Case("a hexadecimal length", (b"Content-Length: 0x0",), b"", "refuse"),
    Case("a length with a space inside", (b"Content-Length: 0 0",), b"", "refuse"),
)
TRANSFER_ENCODING = (
    Case("an unknown coding, read as chunked", (b"Transfer-Encoding: xchunked",), _END, "close"),
    Case("an unknown coding, ignored", (b"Transfer-Encoding: xchunked",), b"", "close"),
    Case("chunked is not last", (b"Transfer-Encoding: chunked, identity",), _END, "close"),
    Case("a space before the colon", (b"Transfer-Encoding : chunked",), _END, "refuse"),
    Case("a vertical tab before the value", (b"Transfer-Encoding: \x0bchunked",), _END, "close"),
    Case("a parameter in quotes", (b'Transfer-Encoding: "chunked"',), _END, "close"),
)
CHUNKS = (
    Case("a chunk size that is no number", (_CHUNKED,), b"zz\r\nhello\r\n0\r\n\r\n", "close"),
    Case("a chunk size with a prefix", (_CHUNKED,), b"0x5\r\nhello\r\n0\r\n\r\n", "close"),
    Case("a negative chunk size", (_CHUNKED,), b"-1\r\nhello\r\n0\r\n\r\n", "close"),
    Case("a chunk size above 64 bits", (_CHUNKED,), b"10000000000000005\r\nhello\r\n0\r\n\r\n", "close"),
    Case("no line end after a chunk", (_CHUNKED,), b"5\r\nhelloX0\r\n\r\n", "close"),
)
SYNTAX = (
    Case("a space before a colon", (b"X-Seatrial : a",), b"", "refuse"),
    Case("an empty name", (b": a",), b"", "refuse"),
    Case("a NUL in a name", (b"X-Sea\x00trial: a",), b"", "refuse"),
)


def request(service: Service, case: Case) -> bytes:
    """Return the bytes of a case, followed by a request that must never be answered."""
    address = service.client.address
    target = f"{address.prefix}{service.readable_path}".encode()
    host = address.authority.encode()
    head = b"\r\n".join((b"GET %b HTTP/1.1" % target, b"Host: %b" % host, *case.head, b"", b""))
    following = b"GET %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (_MARKER.encode(), host)
    return head + case.body + following


def _judge(cases: Sequence[Case], service: Service) -> Judgement:
    _check_keep_alive(service)
    lines = []
    for case in cases:
        exchange = service.client.raw(request(service, case), expected_responses=2, wait_for_close_s=1)
        problem = _problem(case, exchange)
        if problem:
            return failed(f"{case.name}: {problem}.", exchange.evidence(case.name))
        lines.append(f"{case.name}: {exchange.status or 'no response'}, closed")
    return passed(f"{len(cases)} malformed requests were refused.", Evidence("responses", "\n".join(lines)))


def _check_keep_alive(service: Service) -> None:
    """Check that two well-formed requests on one connection get responses that are no refusals."""
    good = request(service, Case("well-formed", (), b"", "refuse"))
    statuses = [
        response.status
        for response in service.client.raw(good, expected_responses=2, wait_for_close_s=0).responses
    ]
    if not statuses or any(status in _REFUSALS or status >= 500 for status in statuses):
        raise Undecided("A well-formed request is refused as well: set safe_read.path in seatrial.toml.")


def _problem(case: Case, exchange: Exchange) -> str:
    statuses = [response.status for response in exchange.responses]
    # A handler that does not read the body responds first; the refusal of the body is the second response.
    if any(status not in _REFUSALS for status in statuses[1:]):
        return "the bytes after it were answered as a request of their own"
    if not exchange.is_closed:
        return "the connection stays open"
    if case.rule == "refuse" and statuses and statuses[0] not in _REFUSALS:
        return f"it is accepted ({statuses[0]})"
    return ""


def _host(service: Service) -> Judgement:
    address = service.client.address
    target = f"{address.prefix}{service.readable_path}".encode()
    host = b"Host: %b\r\n" % address.authority.encode()
    _check_keep_alive(service)
    for name, lines in (("no Host", b""), ("two Hosts", host + b"Host: seatrial.invalid\r\n")):
        exchange = service.client.raw(b"GET %b HTTP/1.1\r\n%b\r\n" % (target, lines))
        if exchange.responses and exchange.status not in _REFUSALS:
            return failed(f"A request with {name} gets {exchange.status}.", exchange.evidence(name))
        if not exchange.responses and not exchange.is_closed:
            return failed(f"A request with {name} gets no response.", exchange.evidence(name))
    return passed("Requests with no and with two Host headers are refused.")


_row = partial(Row[Service], category=Category.EDGE, command="check", is_attack=True)
_RFC_9112 = "https://www.rfc-editor.org/rfc/rfc9112#section-"
_WHY = (
    "If a proxy and the service disagree where a request ends, an attacker prefixes the request of another "
    "user. Sessions are stolen and caches poisoned that way."
)
_FIX = "Use a server that follows RFC 9112 strictly, also behind a proxy, and keep it up to date."
_HOW = "{} malformed requests, each followed by a second request on the same connection: {}."
_CLOSED = "the connection is closed and the second is never answered"
_REFUSED = "each is refused, usually with 400, and the connection is closed"
_SERVERS = (
    Remedy("FastAPI/uvicorn", "--http h11 is stricter than old versions of httptools."),
    Remedy("Fastify", "Never pass insecureHTTPParser."),
)

ROWS = (
    _row(
        id="edge-smuggling-both-lengths",
        title="Content-Length together with Transfer-Encoding ends the connection",
        severity=Severity.CRITICAL,
        why=_WHY,
        source=f"RFC 9112, section 6.3; {_RFC_9112}6.3",
        how=_HOW.format(len(BOTH_LENGTHS), _CLOSED),
        fix=_FIX,
        remedies=_SERVERS,
        judge=partial(_judge, BOTH_LENGTHS),
    ),
    _row(
        id="edge-smuggling-content-length",
        title="A malformed Content-Length is refused",
        severity=Severity.CRITICAL,
        why=_WHY,
        source=f"RFC 9112, section 6.3; {_RFC_9112}6.3",
        how=_HOW.format(len(CONTENT_LENGTH), _REFUSED),
        fix=_FIX,
        remedies=_SERVERS,
        judge=partial(_judge, CONTENT_LENGTH),
    ),
    _row(
        id="edge-smuggling-transfer-encoding",
        title="A malformed Transfer-Encoding is refused",
        severity=Severity.CRITICAL,
        why=_WHY,
        source=f"RFC 9112, section 6.1; {_RFC_9112}6.1",
        how=_HOW.format(len(TRANSFER_ENCODING), f"{_REFUSED}; for codings that are unknown, {_CLOSED}"),
        fix=_FIX,
        remedies=_SERVERS,
        judge=partial(_judge, TRANSFER_ENCODING),
    ),
    _row(
        id="edge-smuggling-chunks",
        title="Malformed chunks end the connection",
        severity=Severity.CRITICAL,
        why=_WHY,
        source=f"RFC 9112, section 7.1; {_RFC_9112}7.1",
        how=_HOW.format(len(CHUNKS), _CLOSED),
        fix=_FIX,
        remedies=_SERVERS,
        judge=partial(_judge, CHUNKS),
    ),
    _row(
        id="edge-header-syntax",
        title="Malformed header lines are refused",
        severity=Severity.HIGH,
        why="A header that one program ignores and the next one reads evades filters. "
        "A space before a colon has been the base of many attacks on proxies.",
        source=f"RFC 9112, section 5.1; {_RFC_9112}5.1",
        how=_HOW.format(len(SYNTAX), _REFUSED),
        fix=_FIX,
        judge=partial(_judge, SYNTAX),
    ),
    _row(
        id="edge-host",
        title="Requests without exactly one Host are refused",
        severity=Severity.HIGH,
        why="Routing, links in mails and keys of caches depend on the host. "
        "With two of them, a proxy and the service can use different ones.",
        source=f"RFC 9112, section 3.2; {_RFC_9112}3.2",
        how="A request of HTTP/1.1 without Host, and one with two, are refused or the connection is closed.",
        fix=_FIX,
        judge=_host,
    ),
)
