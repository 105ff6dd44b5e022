"""Rows about headers of ordinary responses."""

import gzip
import re
import zlib
from functools import partial

from .._rows.row import Category, Remedy, Row, Severity
from .._rows.verdict import Judgement, Undecided, failed, not_applicable, passed
from .._target.client import response_of
from .._target.exchange import Exchange
from .._target.service import Service

_VERSION = re.compile(r"\d+\.\d+|\(.+\)")
_DISCLOSING = ("server", "x-powered-by", "x-aspnet-version", "x-runtime", "via")
_DIFFERS = {
    "date",
    "content-length",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "age",
    "set-cookie",
    "etag",
}


def _read(service: Service, method: str = "GET", headers: tuple[tuple[str, str], ...] = ()) -> Exchange:
    return service.client.send(method, service.readable_path, headers=[*headers, *service.authorization])


def _several(service: Service) -> list[Exchange]:
    return [_read(service), service.client.send("GET", service.missing_path)]


def _no_sniffing(service: Service) -> Judgement:
    for exchange in _several(service):
        if response_of(exchange).get("x-content-type-options").lower() != "nosniff":
            return failed(
                "A response lacks `X-Content-Type-Options: nosniff`.", exchange.evidence("response")
            )
    return passed("A success and an error have `X-Content-Type-Options: nosniff`.")


def _no_framing(service: Service) -> Judgement:
    for exchange in _several(service):
        response = response_of(exchange)
        has_policy = "frame-ancestors" in response.get("content-security-policy").lower()
        if not has_policy and response.get("x-frame-options").upper() not in {"DENY", "SAMEORIGIN"}:
            return failed("A response may be shown in a frame.", exchange.evidence("response"))
    return passed("A success and an error forbid frames.")


def _no_version(service: Service) -> Judgement:
    for exchange in _several(service):
        response = response_of(exchange)
        for name in _DISCLOSING:
            value = response.get(name)
            if _VERSION.search(value) or (name == "x-powered-by" and value):
                return failed(f"`{name}: {value}` names the software.", exchange.evidence("response"))
    return passed("Headers of a success and an error name no version.")


def _head(service: Service) -> Judgement:
    get, head = _read(service), _read(service, "HEAD")
    expected, got = response_of(get), response_of(head)
    evidence = head.evidence("HEAD")
    if got.status != expected.status:
        return failed(f"HEAD gets {got.status}, and GET {expected.status}.", evidence, get.evidence("GET"))
    if head.received.partition(b"\r\n\r\n")[2]:
        return failed("The response to HEAD has a body.", evidence)
    if got.media_type != expected.media_type:
        return failed("The types of HEAD and GET differ.", evidence, get.evidence("GET"))
    missing = (
        {name.lower() for name, _ in expected.headers} - {name.lower() for name, _ in got.headers} - _DIFFERS
    )
    if missing:
        return failed(f"HEAD lacks {', '.join(sorted(missing))}.", evidence, get.evidence("GET"))
    return passed("HEAD is answered like GET, without a body.", evidence)


def _trace(service: Service) -> Judgement:
    secret = "seatrial-echo"  # noqa: S105 - a marker, no secret
    # A service that is gone refuses TRACE as well.
    response_of(_read(service))
    exchange = _read(service, "TRACE", (("X-Seatrial", secret),))
    evidence = exchange.evidence("TRACE")
    if secret.encode() in exchange.received or exchange.status in range(200, 300):
        return failed(f"TRACE gets {exchange.status}.", evidence)
    if exchange.status is None and not exchange.is_closed:
        return failed("TRACE gets no response.", evidence)
    return passed(f"TRACE gets {exchange.status or 'the connection closed'}.", evidence)


def _compression(service: Service) -> Judgement:
    # Responses to a credential may be left uncompressed, as a defence against BREACH.
    paths = {service.readable_path: service.authorization}
    if service.openapi:
        paths[service.openapi[0]] = []
    for path, credential in paths.items():
        headers = [("Accept-Encoding", "gzip"), *credential]
        exchange = service.client.send("GET", path, headers=headers)
        response = response_of(exchange)
        if response.get("content-encoding").lower() != "gzip":
            continue
        evidence = exchange.evidence(path)
        if "accept-encoding" not in response.get("vary").lower():
            return failed("A compressed response lacks `Vary: Accept-Encoding`.", evidence)
        try:
            gzip.decompress(response.body)
        except (OSError, EOFError, zlib.error):
            return failed("A response that is declared as gzip is none.", evidence)
        plain = response_of(
            service.client.send("GET", path, headers=[("Accept-Encoding", "identity"), *credential])
        )
        if plain.get("content-encoding"):
            return failed("A client that accepts no compression gets it.", evidence)
        return passed(f"{path} is compressed correctly.", evidence)
    return not_applicable("Neither the safe read nor the OpenAPI document is compressed.")


def _complete(service: Service) -> Judgement:
    exchange = _read(service)
    response = response_of(exchange)
    if not response.is_complete:
        raise Undecided("The response did not end within the timeout: set safe_read.path.")
    if response.body and not response.get("content-type"):
        return failed("A response with a body lacks `Content-Type`.", exchange.evidence("response"))
    if response.media_type.startswith("text/") and "charset" not in response.get("content-type").lower():
        return failed("A text lacks its charset.", exchange.evidence("response"))
    return passed(f"`Content-Type` is {response.get('content-type')!r}.")


_row = partial(Row[Service], category=Category.EDGE, command="check")
_OWASP = "https://cheatsheetseries.owasp.org/cheatsheets/REST_Security_Cheat_Sheet.html#security-headers"

ROWS = (
    _row(
        id="edge-content-type",
        title="Responses have a content type",
        severity=Severity.MEDIUM,
        why="Without a type, browsers guess, and a value of a user becomes a page. "
        "Without a charset, a text is decoded differently by each client.",
        source=_OWASP,
        how="The safe read, or a probe, has `Content-Type`, with a charset if it is text.",
        fix="Set the type of each response.",
        judge=_complete,
    ),
    _row(
        id="edge-no-sniffing",
        title="Responses forbid sniffing of types",
        severity=Severity.MEDIUM,
        why="Browsers otherwise execute JSON or uploads that resemble a script. The header costs one line.",
        source=_OWASP,
        how="A success and a 404 have `X-Content-Type-Options: nosniff`.",
        fix="Add the header to each response, errors included, in the service or the proxy.",
        remedies=(Remedy("Fastify", "@fastify/helmet"),),
        judge=_no_sniffing,
    ),
    _row(
        id="edge-no-framing",
        title="Responses forbid frames",
        severity=Severity.LOW,
        why="A page that is shown in a foreign frame can be clicked unknowingly. "
        "An API has no reason to be shown in one.",
        source=_OWASP,
        how="A success and a 404 have `frame-ancestors` in `Content-Security-Policy`, or `X-Frame-Options`.",
        fix="Content-Security-Policy: frame-ancestors 'none'",
        remedies=(Remedy("Fastify", "@fastify/helmet"),),
        judge=_no_framing,
    ),
    _row(
        id="edge-no-server-version",
        title="Headers name no version",
        severity=Severity.LOW,
        why="Scanners search for versions with known faults. The header has no use for clients.",
        source="OWASP API Security Top 10 2023, API8; RFC 9110, section 17.12",
        how="`Server`, `Via` and similar headers of a success and a 404 have no number of a version, and "
        "`X-Powered-By` is absent.",
        fix="Remove the header, or reduce it to a name.",
        remedies=(
            Remedy("FastAPI/uvicorn", "--no-server-header"),
            Remedy("nginx", "server_tokens off;"),
            Remedy("Express", "app.disable('x-powered-by')"),
        ),
        judge=_no_version,
    ),
    _row(
        id="edge-head",
        title="HEAD is answered like GET, without a body",
        severity=Severity.LOW,
        why="Balancers, caches and monitors use HEAD. "
        "If it fails or has a body, they take a healthy service for a broken one, or lose their place.",
        source="RFC 9110, section 9.3.2; https://www.rfc-editor.org/rfc/rfc9110#section-9.3.2",
        how="HEAD of the safe read, or of a probe, has the status, type and headers of GET, and no body.",
        fix="Register HEAD for each GET route.",
        remedies=(Remedy("FastAPI/uvicorn", "@app.api_route(path, methods=['GET', 'HEAD'])"),),
        judge=_head,
    ),
    _row(
        id="edge-trace",
        title="TRACE is refused",
        severity=Severity.LOW,
        why="TRACE returns the request with headers that a proxy has added, such as credentials. "
        "Services have no use for it.",
        source="RFC 9110, section 9.3.8; https://www.rfc-editor.org/rfc/rfc9110#section-9.3.8",
        how="TRACE does not succeed and does not return a header that was sent.",
        fix="Refuse the method with 405.",
        judge=_trace,
    ),
    _row(
        id="edge-compression",
        title="Compressed responses are correct and vary",
        severity=Severity.MEDIUM,
        why="A cache gives a compressed response to a client that cannot read it. "
        "Compression that is declared and absent breaks every client.",
        source="RFC 9110, section 12.5.5; https://www.rfc-editor.org/rfc/rfc9110#section-12.5.5",
        how="If the safe read or the OpenAPI document is compressed on request: it can be decompressed, has "
        "`Vary: Accept-Encoding`, and is plain on request.",
        fix="Use the middleware of the framework or the proxy instead of own code.",
        judge=_compression,
    ),
)
