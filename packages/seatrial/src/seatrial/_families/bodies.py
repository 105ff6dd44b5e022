"""Rows about bodies that must be refused."""

from collections.abc import Callable
from functools import partial

from .._rows.row import Category, Remedy, Row, Severity
from .._rows.verdict import Judgement, Undecided, failed, passed
from .._target.exchange import Exchange, request_bytes
from .._target.service import Service

_NEST = 100_000
_HUGE = 10 * 2**30
_JSON = ("Content-Type", "application/json")


def _write_target(service: Service) -> tuple[str, str]:
    write = service.config.safe_write
    if write.path:
        return write.method, write.path
    for operation in service.operations:
        if operation.has_json_body and not operation.needs_parameters and operation.method != "DELETE":
            if operation.needs_token and not service.token:
                continue
            return operation.method, operation.path
    raise Undecided("No request with a JSON body is known: set safe_write, and auth if it needs a token.")


def _send_body(service: Service, body: bytes, content_type: str = "application/json") -> Exchange:
    method, path = _write_target(service)
    key = service.config.safe_write.idempotency_header
    headers = [("Content-Type", content_type), *service.authorization]
    headers += [(key, service.missing_path[1:])] if key else []
    return service.client.send(method, path, headers=headers, body=body)


def _refused(
    body: Callable[[], bytes],
    expected: tuple[int, ...],
    name: str,
    service: Service,
    content_type: str = _JSON[1],
) -> Judgement:
    exchange = _send_body(service, body(), content_type)
    if exchange.status in {401, 403} and exchange.status not in expected:
        raise Undecided("The request with a body needs a token: set auth in seatrial.toml.")
    if exchange.status == 429:
        raise Undecided("A rate limit refused the request: wait, or set safe_write to another path.")
    evidence = exchange.evidence(name)
    if exchange.status in expected:
        return passed(f"{name} gets {exchange.status}.", evidence)
    listed = " or ".join(map(str, expected))
    return failed(f"{name} gets {exchange.status or 'no response'}, not {listed}.", evidence)


def _too_large(service: Service) -> Judgement:
    client = service.client
    method, path = _write_target(service)
    headers = [_JSON, *service.authorization, ("Content-Length", str(_HUGE))]
    target = f"{client.address.prefix}{path}"
    # The declared body is never sent: a server with a limit refuses by the header alone.
    exchange = client.raw(request_bytes(method, target, client.address.authority, headers, None) + b'{"a":"')
    evidence = exchange.evidence("10 GiB declared")
    if exchange.status == 413:
        return passed("A declared body of 10 GiB gets 413.", evidence)
    if exchange.status in {401, 403, 429}:
        raise Undecided(f"The request got {exchange.status} first: set auth or safe_write in seatrial.toml.")
    if exchange.status is None and exchange.is_closed:
        return failed("A declared body of 10 GiB closes the connection without a response.", evidence)
    return failed(
        f"A declared body of 10 GiB gets {exchange.status or 'no response: it is awaited'}.", evidence
    )


_row = partial(
    Row[Service], category=Category.ERRORS, command="check", is_attack=True, severity=Severity.HIGH
)
_RFC_9110 = "https://www.rfc-editor.org/rfc/rfc9110#section-"

ROWS = (
    _row(
        id="errors-bad-json",
        title="Broken JSON gets 400 or 422",
        why="Clients send truncated bodies whenever a connection breaks. "
        "A status 5xx for them is a false alarm, and a success is a lost write.",
        source=f"RFC 9110, section 15.5.1; {_RFC_9110}15.5.1",
        how='The safe write, or a declared operation with a JSON body, gets `{"a":` and answers 400 or 422.',
        fix="Convert errors of the JSON parser to 400.",
        judge=partial(_refused, lambda: b'{"a":', (400, 422), "Broken JSON"),
    ),
    _row(
        id="errors-invalid-utf8",
        title="JSON that is not UTF-8 gets 400 or 422",
        why="JSON is UTF-8. "
        "Bytes that are not reach the database driver or the log, where the exception is not expected any "
        "more.",
        source="RFC 8259, section 8.1; https://www.rfc-editor.org/rfc/rfc8259#section-8.1",
        how='The body {"a": "\\xff\\xfe"} gets 400 or 422.',
        fix="Decode strictly, and convert errors of decoding to 400.",
        judge=partial(_refused, lambda: b'{"a": "\xff\xfe"}', (400, 422), "Invalid UTF-8"),
    ),
    _row(
        id="errors-deep-nesting",
        title="Deeply nested JSON gets an error of the client",
        why="A recursive parser overflows its stack by a small body. "
        "At best this is a status 500, at worst the process ends with all its requests.",
        source="RFC 8259, section 9; CWE-674",
        how=f"{_NEST} nested arrays get 400, 413 or 422.",
        fix="Limit the depth, or convert the parser's error of recursion to 400.",
        judge=partial(
            _refused, lambda: b"[" * _NEST + b"]" * _NEST, (400, 413, 422), f"{_NEST} nested arrays"
        ),
    ),
    _row(
        id="errors-wrong-type",
        title="JSON of a wrong type gets 400 or 422",
        why="Types are checked at the edge or nowhere. "
        "A value of a wrong type that is accepted is stored, and fails later where no client can correct it.",
        source="OWASP API Security Top 10 2023, API8; CWE-1287",
        how="A number instead of an object gets 400 or 422.",
        fix="Validate bodies by a schema.",
        judge=partial(_refused, lambda: b"7", (400, 422), "A number as the body"),
    ),
    _row(
        id="errors-media-type",
        title="An unsupported media type gets an error of the client",
        why="A body that is parsed as JSON whatever its type lets a form of another site send it without a "
        "preflight. 415 also states the mistake to the client.",
        source=f"RFC 9110, section 15.5.16; {_RFC_9110}15.5.16",
        how="`{}` as application/x-seatrial gets 415, 400 or 422.",
        fix="Accept application/json only.",
        judge=partial(
            _refused,
            lambda: b"{}",
            (415, 400, 422),
            "An unsupported media type",
            content_type="application/x-seatrial",
        ),
    ),
    _row(
        id="errors-too-large",
        title="A body above the limit gets 413",
        why="Without a limit, one client fills the memory or the disk. "
        "A refusal by the declared length costs nothing.",
        source=f"RFC 9110, section 15.5.14; {_RFC_9110}15.5.14; CWE-770",
        how="`Content-Length: 10737418240` gets 413 before the body is sent.",
        fix="Limit bodies in the service or in the proxy in front of it.",
        remedies=(
            Remedy("Litestar/Starkeel", "request_max_body_size, or HTTP_MAX_BODY_BYTES."),
            Remedy("Fastify", "bodyLimit, 1 MiB by default."),
            Remedy("FastAPI/uvicorn", "Middleware that checks Content-Length and counts the bytes."),
        ),
        judge=_too_large,
    ),
)
