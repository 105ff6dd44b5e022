"""Rows about the size of requests."""

from functools import partial

from .._rows.row import Category, Remedy, Row, Severity
from .._rows.verdict import Judgement, Undecided, failed, passed
from .._target.exchange import Exchange, request_bytes
from .._target.service import Service

_LARGE = 2**20
_COUNT = 5000
_REFUSALS = {400, 413, 414, 431, 494}


def _send(service: Service, headers: list[tuple[str, str]], query: str = "") -> Exchange:
    address = service.client.address
    normal = service.client.send("GET", service.readable_path)
    if normal.status is None or normal.status in _REFUSALS:
        raise Undecided("A small request is refused as well: set safe_read.path in seatrial.toml.")
    target = f"{address.prefix}{service.readable_path}{query}"
    return service.client.raw(request_bytes("GET", target, address.authority, headers, None))


def _refused(exchange: Exchange, name: str) -> Judgement:
    evidence = exchange.evidence(name)
    if exchange.status in _REFUSALS:
        return passed(f"{name} gets {exchange.status}.", evidence)
    if exchange.status is None and exchange.is_closed:
        return passed(f"{name} closes the connection.", evidence)
    state = f"accepted ({exchange.status})" if exchange.status else "neither refused nor answered"
    return failed(f"{name}: {state}.", evidence)


def _header_size(service: Service) -> Judgement:
    return _refused(_send(service, [("X-Seatrial", "a" * _LARGE)]), "A header of 1 MiB")


def _header_count(service: Service) -> Judgement:
    headers = [(f"X-Seatrial-{number}", "a") for number in range(_COUNT)]
    return _refused(_send(service, headers), f"A request with {_COUNT} headers")


def _target(service: Service) -> Judgement:
    return _refused(_send(service, [], f"?q={'a' * _LARGE}"), "A request target of 1 MiB")


_row = partial(
    Row[Service],
    category=Category.EDGE,
    command="check",
    is_attack=True,
    severity=Severity.HIGH,
    fix="Set the server's limits of headers; most have one, and a proxy in front adds another.",
    remedies=(
        Remedy("FastAPI/uvicorn", "--h11-max-incomplete-event-size, with --http h11."),
        Remedy("Fastify", "maxHeaderSize of the server of Node.js, 16 KiB by default."),
    ),
)

ROWS = (
    _row(
        id="edge-header-size",
        title="The size of headers is bounded",
        why="Headers are held in memory before the application can refuse them. "
        "Without a bound, a few connections fill it.",
        source="RFC 6585, section 5; https://www.rfc-editor.org/rfc/rfc6585#section-5",
        how="A header of 1 MiB is refused (400, 413, 431), or the connection is closed.",
        judge=_header_size,
    ),
    _row(
        id="edge-header-count",
        title="The number of headers is bounded",
        why="Each header is an object, and its processing is often quadratic. "
        "A small request with thousands of them costs more than a large one.",
        source="RFC 6585, section 5; https://www.rfc-editor.org/rfc/rfc6585#section-5",
        how=f"A request with {_COUNT} small headers is refused (400, 431), or the connection is closed.",
        judge=_header_count,
    ),
    _row(
        id="edge-target-length",
        title="The length of the request target is bounded",
        why="The target is copied into logs, traces and metrics. "
        "Without a bound, one client fills disks by requests that all succeed.",
        source="RFC 9110, section 15.5.15; https://www.rfc-editor.org/rfc/rfc9110#section-15.5.15",
        how="A query of 1 MiB is refused (400, 414, 431), or the connection is closed.",
        judge=_target,
    ),
)
