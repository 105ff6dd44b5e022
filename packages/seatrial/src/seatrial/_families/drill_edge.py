"""Rows about limits that take time or many requests to judge."""

import contextlib
import secrets
import signal
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from .._drill.drill import Drill
from .._drill.instance import Instance
from .._drill.stops import opened
from .._rows.row import Category, Remedy, Row, Severity
from .._rows.verdict import Evidence, Judgement, Undecided, failed, passed
from .._target.exchange import Exchange
from .._target.message import Response, parse_responses

_DRIP_S = 0.1
_TOLERANCE_S = 2.0
_TIMEOUT_STATUSES = (408, 503, 504)
_LIMIT_REQUESTS = 300
_REFUSALS = 8
_EVASIONS = 3


def _request_timeout(drill: Drill) -> Judgement:
    keys = drill.keys
    if not keys.endless_path:
        raise Undecided("Set drill.endless_path to a GET that takes longer than any request may.")
    with drill.instance() as instance, opened(instance) as connection:
        connection.sendall(drill.request(instance, keys.endless_path))
        started = time.monotonic()
        response = _response(connection, started + keys.request_timeout_s + _TOLERANCE_S)
        seconds = time.monotonic() - started
        if response is None:
            return failed(f"GET {keys.endless_path} is not answered after {seconds:.1f} s.")
        evidence = Evidence("response", response.excerpt)
        if response.status not in _TIMEOUT_STATUSES:
            raise Undecided(f"GET {keys.endless_path} is answered {response.status}: correct the key.")
        instance.send_signal(signal.SIGTERM)
        if not instance.wait(drill.stop_s):
            return failed("The request continues after its timeout: the service does not stop.", evidence)
    return passed(f"GET {keys.endless_path} is answered {response.status} after {seconds:.1f} s.", evidence)


def _response(connection: socket.socket, deadline: float) -> Response | None:
    received = b""
    with contextlib.suppress(OSError):
        while not parse_responses(received):
            connection.settimeout(max(deadline - time.monotonic(), 0.001))
            part = connection.recv(65536)
            if not part:
                break
            received += part
    responses = parse_responses(received)
    return responses[0] if responses else None


@dataclass
class _Slow:
    """An incomplete request: seconds until its connection was closed, None while it is open."""

    seconds: float | None = None
    received: bytes = b""


def _slow_clients(drill: Drill) -> dict[str, _Slow]:
    return drill.once.get("slow clients", lambda: _observe_slow_clients(drill))


def _observe_slow_clients(drill: Drill) -> dict[str, _Slow]:
    found = {"header": _Slow(), "body": _Slow()}
    with drill.instance() as instance:
        path = drill.config.safe_write.path or drill.service(instance).readable_path
        fields = [("Host", instance.address.authority), *drill.authorization(instance)]
        if drill.config.safe_write.idempotency_header:
            fields.append((drill.config.safe_write.idempotency_header, secrets.token_hex(16)))
        common = "".join(f"{name}: {value}\r\n" for name, value in fields)
        starts = {
            "header": f"GET {path} HTTP/1.1\r\n{common}X-Slow: ",
            "body": f"POST {path} HTTP/1.1\r\n{common}Content-Type: application/json\r\n"
            'Content-Length: 100000\r\n\r\n{"a": "',
        }
        threads = [
            threading.Thread(target=_drip, args=(drill, instance, starts[kind].encode(), found[kind]))
            for kind in found
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return found


def _drip(drill: Drill, instance: Instance, start: bytes, slow: _Slow) -> None:
    began = time.monotonic()
    deadline = began + drill.keys.slow_client_s + _TOLERANCE_S
    with contextlib.suppress(BrokenPipeError, ConnectionError), opened(instance) as connection:
        connection.sendall(start)
        connection.settimeout(_DRIP_S)
        while time.monotonic() < deadline:
            with contextlib.suppress(TimeoutError):
                part = connection.recv(65536)
                slow.received += part
                if not part:
                    break
            connection.sendall(b"a")
        else:
            return
    slow.seconds = time.monotonic() - began


def _is_cut(kind: str, drill: Drill) -> Judgement:
    slow = _slow_clients(drill)[kind]
    limit = drill.keys.slow_client_s
    response = Evidence("response", slow.received[:400].decode("utf-8", "backslashreplace") or "(none)")
    if slow.seconds is None:
        # A response that came before the whole request is a refusal as well, if the rest is not awaited.
        return failed(f"A request whose {kind} is sent slowly is still open after {limit:g} s.", response)
    if kind == "body" and slow.seconds < 2 * _DRIP_S and parse_responses(slow.received):
        raise Undecided("The body is refused before it is read: set safe_write.path to a POST that reads it.")
    return passed(f"A request whose {kind} is sent slowly is cut after {slow.seconds:.1f} s.", response)


def _limited(drill: Drill, instance: Instance, path: str, headers: list[tuple[str, str]]) -> Exchange:
    keys = drill.keys
    body = (keys.limited_body or "{}").encode() if keys.limited_method != "GET" else None
    kind = [("Content-Type", "application/json")] if body is not None else []
    sent = [*kind, *drill.authorization(instance), *headers]
    return drill.service(instance).client.send(keys.limited_method, path, headers=sent, body=body)


@dataclass
class _Limit:
    first: int
    refused: Exchange | None
    count: int
    evaded: list[tuple[str, Exchange]]


def _limit(drill: Drill) -> _Limit:
    if not drill.keys.limited_path:
        raise Undecided("Set drill.limited_path to a path that is rate limited in seatrial.toml.")
    return drill.once.get("rate limit", lambda: _observe_limit(drill))


def _observe_limit(drill: Drill) -> _Limit:
    path = drill.keys.limited_path
    with drill.instance() as instance:
        first = _limited(drill, instance, path, []).status or 0
        if first in {404, 405, 429}:
            raise Undecided(f"{drill.keys.limited_method} {path} is answered {first}: correct the key.")
        refused, count = None, 1
        in_a_row = 0
        # Each worker may have a share of the limit, so that the first refusal is not the end of all.
        while in_a_row < _REFUSALS and count < _LIMIT_REQUESTS:
            exchange = _limited(drill, instance, path, [])
            count += refused is None
            in_a_row = in_a_row + 1 if exchange.status == 429 else 0
            if exchange.status == 429:
                refused = refused or exchange
        evaded = list(_evaded(drill, instance, first)) if in_a_row == _REFUSALS else []
    return _Limit(first, refused, count, evaded)


def _evaded(drill: Drill, instance: Instance, first: int) -> Iterator[tuple[str, Exchange]]:
    # A service may answer all paths alike, as without a token: then spellings show nothing.
    missing = _limited(drill, instance, drill.service(instance).missing_path, []).status
    attempts: dict[str, list[Exchange]] = {}
    for _ in range(_EVASIONS):
        for name, path, headers in _variants(drill.keys.limited_path):
            if headers or missing != first:
                attempts.setdefault(name, []).append(_limited(drill, instance, path, headers))
    for name, exchanges in attempts.items():
        # One may be let through because the limit allows another request by now.
        if all(exchange.status == first for exchange in exchanges):
            yield name, exchanges[0]


def _variants(path: str) -> Iterator[tuple[str, str, list[tuple[str, str]]]]:
    address = f"203.0.113.{secrets.randbelow(250) + 1}"
    for name in ("X-Forwarded-For", "X-Real-IP", "CF-Connecting-IP", "True-Client-IP", "X-Client-IP"):
        yield name, path, [(name, address)]
    yield "Forwarded", path, [("Forwarded", f"for={address}")]
    yield "path in capital letters", path.upper(), []
    yield "percent-encoded path", f"{path[:-1]}%{ord(path[-1]):02X}", []
    yield "trailing slash", f"{path}/", []
    yield "double slash", f"/{path}", []
    yield "query", f"{path}{'&' if '?' in path else '?'}a={address}", []


def _rate_limit(drill: Drill) -> Judgement:
    limit = _limit(drill)
    if limit.refused is None:
        return failed(f"{limit.count} requests are answered {limit.first}, and none 429.")
    evidence = limit.refused.evidence("refused request")
    if not limit.refused.responses[0].get("retry-after"):
        return failed("The 429 has no `Retry-After`.", evidence)
    return passed(f"Request {limit.count} is answered 429 with `Retry-After`.", evidence)


def _evasion(drill: Drill) -> Judgement:
    limit = _limit(drill)
    if limit.refused is None:
        raise Undecided("There is no limit to evade: see edge-rate-limit.")
    if limit.evaded:
        names = ", ".join(name for name, _ in limit.evaded)
        return failed(f"The limit is evaded by: {names}.", limit.evaded[0][1].evidence(limit.evaded[0][0]))
    return passed("The limit is not evaded by headers, case, encoding or slashes.")


_row = partial(Row[Drill], category=Category.EDGE, command="drill", severity=Severity.HIGH, is_attack=True)
_OWASP = "OWASP API Security Top 10 2023, API4: Unrestricted Resource Consumption"

ROWS = (
    _row(
        id="edge-request-timeout",
        title="A request that takes too long is ended",
        why="A client or proxy has given up long before. "
        "Work that goes on for no client takes memory and connections from others.",
        source=_OWASP,
        how="drill.endless_path is answered 408, 503 or 504 within drill.request_timeout_s, and the process "
        "stops on SIGTERM afterwards.",
        fix="Set a deadline for each request that cancels its work.",
        remedies=(
            Remedy("FastAPI/uvicorn", "A middleware with asyncio.timeout, and timeouts of the database."),
        ),
        lane="beside",
        judge=_request_timeout,
    ),
    _row(
        id="edge-slow-header",
        title="Slow headers are cut",
        why="A connection that sends a byte now and then costs the client nothing. "
        "Thousands of them take all connections of the service.",
        source="CWE-400; RFC 9110, section 15.5.9; https://www.rfc-editor.org/rfc/rfc9110#section-15.5.9",
        how="A head is sent a byte every 0.1 s; the connection is closed within drill.slow_client_s.",
        fix="Set a deadline for the whole head, not only between its bytes.",
        remedies=(Remedy("Fastify", "http: { headersTimeout: 15000 }, connectionTimeout"),),
        lane="beside",
        judge=partial(_is_cut, "header"),
    ),
    _row(
        id="edge-slow-body",
        title="Slow bodies are cut",
        why="A body that never ends holds its request, and often memory and a connection of the database. "
        "The attack needs no more than a modem.",
        source="CWE-400; RFC 9110, section 15.5.9; https://www.rfc-editor.org/rfc/rfc9110#section-15.5.9",
        how="A body is sent a byte every 0.1 s; the connection is closed within drill.slow_client_s.",
        fix="Set a deadline for the whole request.",
        remedies=(Remedy("Fastify", "requestTimeout: 30000"),),
        lane="beside",
        judge=partial(_is_cut, "body"),
    ),
    _row(
        id="edge-rate-limit",
        title="What is sensitive is rate limited, with 429 and Retry-After",
        why="Passwords and codes are guessed by thousands of requests. "
        "Without `Retry-After`, clients repeat at once.",
        source="RFC 6585, section 4; https://www.rfc-editor.org/rfc/rfc6585#section-4",
        how=f"At most {_LIMIT_REQUESTS} requests for drill.limited_path lead to a 429 with `Retry-After`.",
        fix="Limit by account and by address, and answer with 429 and `Retry-After`.",
        lane="beside",
        judge=_rate_limit,
    ),
    _row(
        id="edge-rate-limit-evasion",
        title="The rate limit is not evaded",
        why="A limit by an address that the client can choose is none. "
        "Another spelling of the path must not be another counter.",
        source=_OWASP,
        how="After the 429, requests with forwarded addresses, and with the path in capital letters, "
        "percent-encoded, with slashes and a query, are not handled.",
        fix="Trust forwarded addresses of known proxies only, and count by route.",
        lane="beside",
        judge=_evasion,
    ),
)
