"""Rows about cross-origin requests."""

from functools import partial

from .._rows.row import Category, Remedy, Row, Severity
from .._rows.verdict import Judgement, Undecided, failed, not_applicable, passed
from .._target.client import response_of
from .._target.exchange import Exchange
from .._target.service import Service

_FOREIGN = "https://seatrial.invalid"
_ALLOW = "access-control-allow-origin"
_CREDENTIALS = "access-control-allow-credentials"


def _both(service: Service, origin: str) -> list[Exchange]:
    preflight = [("Origin", origin), ("Access-Control-Request-Method", "POST")]
    exchanges = [
        service.client.send("GET", service.readable_path, headers=[("Origin", origin)]),
        service.client.send("OPTIONS", service.readable_path, headers=preflight),
    ]
    for exchange in exchanges:
        # Without a response, nothing was judged.
        response_of(exchange)
    return exchanges


def _foreign(service: Service) -> Judgement:
    host = service.config.url or service.client.address.url
    origins = [_FOREIGN, f"{host}.seatrial.invalid"]
    origins += [f"{origin}.seatrial.invalid" for origin in service.config.cors.allowed_origins]
    for origin in origins:
        for exchange in _both(service, origin):
            for response in exchange.responses:
                if response.get(_ALLOW) == origin:
                    return failed(f"The foreign origin {origin} is reflected.", exchange.evidence(origin))
    return passed(f"{len(origins)} foreign origins were not allowed by name.")


def _null(service: Service) -> Judgement:
    for exchange in _both(service, "null"):
        for response in exchange.responses:
            if response.get(_ALLOW).lower() == "null":
                return failed("The origin `null` is allowed.", exchange.evidence("null"))
    return passed("The origin `null` is not allowed.")


def _wildcard(service: Service) -> Judgement:
    origins = [_FOREIGN, *service.config.cors.allowed_origins]
    for origin in origins:
        for exchange in _both(service, origin):
            for response in exchange.responses:
                if response.get(_ALLOW) == "*" and response.get(_CREDENTIALS).lower() == "true":
                    return failed("`*` is combined with credentials.", exchange.evidence(origin))
    return passed("`*` is not combined with credentials.")


def _vary(service: Service) -> Judgement:
    allowed = service.config.cors.allowed_origins
    seen = [exchange for origin in (*allowed, _FOREIGN) for exchange in _both(service, origin)]
    named = [
        exchange
        for exchange in seen
        if exchange.responses and exchange.responses[0].get(_ALLOW) not in {"", "*"}
    ]
    if not named:
        if allowed:
            raise Undecided("No origin of cors.allowed_origins is allowed by the service: correct the key.")
        return not_applicable("No response names an origin; if some are allowed, set cors.allowed_origins.")
    for exchange in named:
        if exchange.sent.startswith(b"OPTIONS"):
            continue
        varies = exchange.responses[0].get("vary").lower()
        if "origin" not in [part.strip() for part in varies.split(",")] and varies != "*":
            return failed("A response that names an origin lacks `Vary: Origin`.", exchange.evidence("Vary"))
    return passed("Responses that name an origin have `Vary: Origin`.")


_row = partial(
    Row[Service],
    category=Category.EDGE,
    command="check",
    fix="List the allowed origins exactly; compare whole origins, never prefixes or suffixes.",
    source="Fetch Standard, HTTP-CORS protocol; https://fetch.spec.whatwg.org/#http-cors-protocol",
    remedies=(
        Remedy("FastAPI/uvicorn", "CORSMiddleware(allow_origins=[...]), without allow_origin_regex."),
        Remedy("Fastify", "@fastify/cors with origin: [...]; origin: true reflects every origin."),
    ),
)

ROWS = (
    _row(
        id="edge-cors-foreign-origin",
        title="Foreign origins are not allowed",
        severity=Severity.CRITICAL,
        why="A reflected origin lets every page read responses with the cookies of its visitor. "
        "Comparison by prefix allows a domain that anyone can register.",
        how="GET and a preflight with a foreign origin, and with origins that begin like the service's, "
        "do not get "
        "them back in `Access-Control-Allow-Origin`.",
        judge=_foreign,
    ),
    _row(
        id="edge-cors-null-origin",
        title="The origin `null` is not allowed",
        severity=Severity.HIGH,
        why="Sandboxed frames and local files have the origin `null`. "
        "Any page can make such a frame, which is therefore the same as allowing all.",
        how="GET and a preflight with `Origin: null` do not get it back.",
        judge=_null,
    ),
    _row(
        id="edge-cors-wildcard",
        title="`*` is not combined with credentials",
        severity=Severity.HIGH,
        why="Browsers refuse the combination, so that the client is broken. "
        "It is usually repaired by reflecting the origin, which is worse.",
        how="No response has `Access-Control-Allow-Origin: *` and `Access-Control-Allow-Credentials: true`.",
        judge=_wildcard,
    ),
    _row(
        id="edge-cors-vary",
        title="Responses that name an origin have `Vary: Origin`",
        severity=Severity.MEDIUM,
        why="A cache gives the response for one origin to another. "
        "Clients then fail at random, depending on which origin came first.",
        how="GET with each of `cors.allowed_origins` has `Vary: Origin` if it names an origin.",
        judge=_vary,
    ),
)
