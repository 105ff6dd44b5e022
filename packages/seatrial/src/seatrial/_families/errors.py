"""Rows about errors that a client causes."""

from collections.abc import Iterator
from functools import partial

from .._rows.row import Category, Remedy, Row, Severity
from .._rows.verdict import Judgement, Undecided, failed, passed
from .._target.client import response_of
from .._target.exchange import Exchange, request_bytes
from .._target.service import Service
from .internals import find_internals

_PROBLEM = "application/problem+json"
_CLIENT_ERROR = range(400, 500)
_SERVER_ERROR = range(500, 600)
_STRANGE_TARGETS = (
    "/%00", "/%ff%fe", "/%c0%ae%c0%ae/", "/..%2f..%2fetc%2fpasswd", "/%2e%2e/%2e%2e/", "//", "/;", "/%",
    "/%zz", "/?%", "/?a[]=1&a[]=2", "/?limit=-1&offset=99999999999999999999", "/?id=%27%20OR%201=1--",
    "/?x=%F0%9F", "/?cursor=%00", "/" + "a/" * 200,
)  # fmt: skip
_STRANGE_HEADERS = (
    ("Accept", "*/*;q=x, ,;;"),
    ("Accept-Language", "\xff\xfe"),
    ("Content-Type", "text/\xff; charset=\x80"),
    ("Cookie", "=; ;;a=\xff; b"),
    ("Range", "bytes=9-1,-,99999999999999999999-"),
    ("If-None-Match", '"'),
    ("If-Modified-Since", "Xyz, 99 Foo 0000 99:99:99 GMT"),
    ("Authorization", "Bearer"),
    ("X-Forwarded-For", "'\"<>, ::::, 999.1.1.1"),
    ("traceparent", "00-zz"),
)


def _missing(service: Service) -> Exchange:
    return service.client.send("GET", service.missing_path)


def _not_found(service: Service) -> Judgement:
    exchange = _missing(service)
    if exchange.status == 404:
        return passed("An unknown path gets 404.", exchange.evidence("unknown path"))
    if exchange.status == 401:
        raise Undecided(
            "An unknown path gets 401 without a token: set paths or a base URL without authentication."
        )
    return failed(
        f"An unknown path gets {exchange.status or 'no response'}.", exchange.evidence("unknown path")
    )


def _wrong_method(service: Service) -> Exchange:
    """Send a method that no read supports to a path that exists."""
    path = service.liveness or service.readiness or service.readable_path
    if response_of(service.client.send("GET", path)).status == 404:
        raise Undecided("No existing path is known: set safe_read.path in seatrial.toml.")
    return service.client.send("PATCH", path, body=b"")


def _method_not_allowed(service: Service) -> Judgement:
    exchange = _wrong_method(service)
    if exchange.status == 405:
        return passed("A method that the path does not support gets 405.", exchange.evidence("PATCH"))
    return failed(
        f"PATCH to a path of GET gets {exchange.status or 'no response'}.", exchange.evidence("PATCH")
    )


def _allow(service: Service) -> Judgement:
    exchange = _wrong_method(service)
    response = response_of(exchange)
    if response.status != 405:
        raise Undecided(
            f"PATCH to a path of GET gets {response.status}, not 405: see errors-method-not-allowed."
        )
    allowed = [method.strip() for method in response.get("allow").split(",")]
    if "GET" not in allowed or "PATCH" in allowed:
        return failed(f"`Allow` is {response.get('allow')!r}.", exchange.evidence("405"))
    return passed(f"`Allow` is {response.get('allow')!r}.", exchange.evidence("405"))


def _problem(service: Service) -> Judgement:
    for name, exchange in (("404", _missing(service)), ("405", _wrong_method(service))):
        response = response_of(exchange)
        if response.status not in _CLIENT_ERROR:
            raise Undecided(f"There was no error to judge: {name} was expected, and {response.status} came.")
        document = response.json()
        if response.media_type != _PROBLEM or not isinstance(document, dict):
            return failed(
                f"The body of {name} is {response.media_type or 'nothing'}, not {_PROBLEM}.",
                exchange.evidence(name),
            )
        if document.get("status", response.status) != response.status:
            return failed(f"The member `status` differs from {response.status}.", exchange.evidence(name))
    return passed(f"Errors are {_PROBLEM}.", exchange.evidence("405"))


def _strange(service: Service) -> Iterator[tuple[str, Exchange]]:
    client = service.client
    # A service that is gone refuses everything as well.
    client.get(service.readable_path)
    for target in _STRANGE_TARGETS:
        yield f"GET {target[:60]}", client.send("GET", target)
    for name, value in _STRANGE_HEADERS:
        yield f"{name}: {value!r}", client.send("GET", service.readable_path, headers=[(name, value)])
    yield "unknown path", _missing(service)
    yield "unknown method", client.send("SEATRIAL", service.readable_path)
    head = request_bytes("GET", f"{client.address.prefix}/ x", client.address.authority, [], None)
    yield "space in the target", client.raw(head)


def _no_server_error(service: Service) -> Judgement:
    count = 0
    for name, exchange in _strange(service):
        count += 1
        # A server of HTTP may not implement a method (501) or version (505); neither is a fault.
        if exchange.status in _SERVER_ERROR and exchange.status not in {501, 505}:
            return failed(f"{name!r} causes {exchange.status}.", exchange.evidence(name))
        if exchange.status is None and not exchange.is_closed:
            return failed(f"{name!r} gets no response.", exchange.evidence(name))
    return passed(f"{count} strange requests caused no status 5xx.")


def _no_internals(service: Service) -> Judgement:
    count = 0
    for name, exchange in _strange(service):
        for response in exchange.responses:
            count += 1
            if response.status in range(200, 400):
                continue
            # An error may repeat the path that was requested.
            target = exchange.sent.partition(b"\r\n")[0].decode("latin-1").split(" ")[1]
            if found := find_internals(response.text.replace(target, "")):
                return failed(f"The response to {name!r} shows {found}.", exchange.evidence(name))
    return passed(f"{count} responses to strange requests show no internals.")


_row = partial(Row[Service], category=Category.ERRORS, command="check")
_RFC_9110 = "https://www.rfc-editor.org/rfc/rfc9110#section-"

ROWS = (
    _row(
        id="errors-not-found",
        title="An unknown path gets 404",
        severity=Severity.MEDIUM,
        why="Clients, caches and scanners rely on the status. "
        "A success for every path hides mistakes in URLs, and monitors report success for pages that are "
        "gone.",
        source=f"RFC 9110, section 15.5.5; {_RFC_9110}15.5.5",
        how="GET of a random path gets 404.",
        fix="Limit a catch-all route to the paths of the user interface.",
        judge=_not_found,
    ),
    _row(
        id="errors-method-not-allowed",
        title="A method that a path does not support gets 405",
        severity=Severity.LOW,
        why="405 distinguishes a wrong method from a wrong path. "
        "With 404 or 500, a client cannot find its mistake, and an alert counts it as a fault of the "
        "service.",
        source=f"RFC 9110, section 15.5.6; {_RFC_9110}15.5.6",
        how="PATCH without a body to a health probe, or to the safe read, gets 405.",
        fix="Return 405 for known paths; most routers have an option for it.",
        remedies=(Remedy("Fastify", "A handler per path, or the plugin fastify-method-not-allowed."),),
        judge=_method_not_allowed,
    ),
    _row(
        id="errors-allow",
        title="405 lists the methods in `Allow`",
        severity=Severity.LOW,
        why="The header is mandatory for 405. It lets a client and a gateway discover what a path supports.",
        source=f"RFC 9110, section 10.2.1; {_RFC_9110}10.2.1",
        how="The response to PATCH has `Allow`, which contains GET and not PATCH.",
        fix="Add `Allow` with the methods of the route to each 405.",
        judge=_allow,
    ),
    _row(
        id="errors-problem-details",
        title="Errors are problem details",
        severity=Severity.LOW,
        why="One format for all errors lets clients handle them in one place. "
        "A page of HTML or an empty body breaks clients that parse JSON.",
        source="RFC 9457; https://www.rfc-editor.org/rfc/rfc9457",
        how=f"404 and 405 have a JSON object of type {_PROBLEM}, whose `status` agrees.",
        fix="Convert all errors, including those of the router, in one handler.",
        remedies=(
            Remedy("Litestar/Starkeel", "starkeel_http.HttpPlugin, or litestar.plugins.problem_details."),
            Remedy("FastAPI/uvicorn", "A handler of starlette.exceptions.HTTPException."),
            Remedy("Fastify", "setErrorHandler and setNotFoundHandler."),
        ),
        judge=_problem,
    ),
    _row(
        id="errors-no-server-error",
        title="No strange request causes a status 5xx",
        severity=Severity.HIGH,
        is_attack=True,
        why="A status 5xx by input lets every client trigger alerts, retries and circuit breakers. "
        "It is also an exception that was not expected, often the first step of an exploit.",
        source=f"RFC 9110, section 15.6; {_RFC_9110}15.6",
        how="Malformed paths, queries, headers and methods get a response that is not 5xx; 501 and 505 "
        "are allowed.",
        fix="Validate before use, and convert errors of decoding to 400.",
        judge=_no_server_error,
    ),
    _row(
        id="errors-no-internals",
        title="Errors show no internals",
        severity=Severity.HIGH,
        is_attack=True,
        why="Tracebacks, paths, SQL and versions show an intruder where to go on. "
        "They also confuse the users that read them.",
        source="OWASP API Security Top 10 2023, API8; CWE-209",
        how="Error responses to malformed requests are searched for tracebacks, paths of the file system, "
        "SQL, "
        "connection URLs, private addresses, exceptions and versions of libraries.",
        fix="Turn the debug mode off, log the exception, and return a fixed text with a request id.",
        remedies=(
            Remedy("FastAPI/uvicorn", "debug=False, and a handler of Exception."),
            Remedy("Litestar/Starkeel", "debug=False."),
        ),
        judge=_no_internals,
    ),
)
