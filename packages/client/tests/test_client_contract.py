"""Responses that are not as agreed: decoded size, encoding, status, media type and shape."""

import gzip
import tracemalloc
import zlib
from collections.abc import Callable
from typing import Annotated, Any

import httpx2
import msgspec
import pytest
from starkeel_client._attempt import MAX_RESPONSE_BYTES
from structlog.testing import capture_logs

Start = Callable[..., Any]
JSON = {"Content-Type": "application/json"}
BODY = b'{"id": 7, "name": "oak"}'


class Plank(msgspec.Struct):
    id: int
    name: Annotated[str, msgspec.Meta(max_length=10)]


def bomb(wbits: int, layers: int = 1) -> bytes:
    """Return 200 MB of spaces, compressed."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, wbits)
    body = b"".join(compressor.compress(b" " * 10_000_000) for _ in range(20)) + compressor.flush()
    for _ in range(layers - 1):
        body = gzip.compress(body, 9)
    return body


BOMBS = {
    "gzip": lambda: bomb(31),
    "deflate": lambda: bomb(15),
    "gzip, gzip": lambda: bomb(31, 2),
    "gzip, gzip, gzip": lambda: bomb(31, 3),
}


@pytest.mark.parametrize("encoding", BOMBS)
def test_the_decoded_size_is_bounded_while_decoding(
    server: Any, reply: Any, caller: Start, encoding: str
) -> None:
    server.script(reply(headers={"Content-Encoding": encoding} | JSON, body=BOMBS[encoding]()))
    calling = caller()
    tracemalloc.start()
    try:
        assert calling.call().status_code == 502
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * MAX_RESPONSE_BYTES


@pytest.mark.parametrize(
    "encoding", ["br", "zstd", "compress", "unheard-of", "gzip, br", ", ".join(["gzip"] * 6)]
)
def test_an_encoding_that_was_not_agreed_is_an_invalid_response(
    server: Any, reply: Any, caller: Start, encoding: str
) -> None:
    server.script(reply(headers={"Content-Encoding": encoding} | JSON, body=BODY))

    assert caller().call().status_code == 502


def decoding(client: Any) -> Any:
    async def use() -> httpx2.Response:
        response = await client.get("/planks/7", route="/planks/{id}", headers={"X": "secret-sent"})
        plank = client.decode(response, Plank, status={200, 201})
        return httpx2.Response(200, text=plank.name)

    return use()


AGREED: dict[str, dict[str, Any]] = {
    "JSON": {"headers": JSON, "body": BODY},
    "another agreed status": {"status": 201, "headers": JSON, "body": BODY},
    "a charset": {"headers": {"Content-Type": "Application/JSON; charset=utf-8"}, "body": BODY},
    "a JSON type": {"headers": {"Content-Type": "application/vnd.plank.v1+json"}, "body": BODY},
    "further members": {"headers": JSON, "body": BODY[:-1] + b', "new": []}'},
    "compressed": {"headers": JSON | {"Content-Encoding": "gzip"}, "body": gzip.compress(BODY)},
}


@pytest.mark.parametrize("how", AGREED)
def test_a_response_as_agreed_is_decoded(server: Any, reply: Any, caller: Start, how: str) -> None:
    server.script(reply(**AGREED[how]))

    response = caller().call(decoding)

    assert (response.status_code, response.json()["body"]) == (200, "oak")


VIOLATIONS: dict[str, tuple[dict[str, Any], int, str]] = {
    "202": ({"status": 202, "headers": JSON, "body": BODY}, 502, "status"),
    "204": ({"status": 204, "body": b""}, 502, "status"),
    "301": ({"status": 301, "headers": {"Location": "/secret-body"}, "body": b""}, 502, "status"),
    "304": ({"status": 304, "body": b""}, 502, "status"),
    "404": ({"status": 404, "headers": JSON, "body": BODY}, 502, "status"),
    "418": ({"status": 418, "body": b"secret-body"}, 502, "status"),
    "429": ({"status": 429, "headers": {"Retry-After": "7"}, "body": b"secret-body"}, 503, "status"),
    "500": ({"status": 500, "body": b"secret-body"}, 503, "status"),
    "599": ({"status": 599, "body": b"secret-body"}, 502, "status"),
    "999": ({"status": 999, "body": b"secret-body"}, 502, "status"),
    "HTML": ({"headers": {"Content-Type": "text/html"}, "body": BODY}, 502, "media type"),
    "no media type": ({"body": BODY}, 502, "media type"),
    "a misleading type": (
        {"headers": {"Content-Type": "application/jsonp"}, "body": BODY},
        502,
        "media type",
    ),
    "a text with JSON": ({"headers": {"Content-Type": "text/json"}, "body": BODY}, 502, "media type"),
    "an empty body": ({"headers": JSON, "body": b""}, 502, "not JSON"),
    "cut JSON": ({"headers": JSON, "body": BODY[:-5]}, 502, "not JSON"),
    "not UTF-8": ({"headers": JSON, "body": b'{"id": 7, "name": "\xff"}'}, 502, "not JSON"),
    "too deep": ({"headers": JSON, "body": b'{"id": 7, "name": "", "x": ' + b"[" * 100_000}, 502, "not JSON"),
    "a list": ({"headers": JSON, "body": b"[]"}, 502, "shape"),
    "null": ({"headers": JSON, "body": b"null"}, 502, "shape"),
    "a missing member": ({"headers": JSON, "body": b'{"id": 7}'}, 502, "shape"),
    "a wrong type": ({"headers": JSON, "body": b'{"id": "secret-body", "name": ""}'}, 502, "shape at $.id"),
    "too long": (
        {"headers": JSON, "body": b'{"id": 7, "name": "secret-body-secret-body"}'},
        502,
        "shape at $.name",
    ),
}


@pytest.mark.parametrize("how", VIOLATIONS)
def test_a_violation_is_an_upstream_error_without_the_body(
    server: Any, reply: Any, caller: Start, how: str
) -> None:
    scripted, status, reason = VIOLATIONS[how]
    server.script(reply(**scripted))

    with capture_logs() as logged:
        response = caller().call(decoding)

    assert response.status_code == status
    assert status != 503 or response.headers["Retry-After"] == scripted.get("headers", {}).get(
        "Retry-After", "1"
    )
    (line,) = [line for line in logged if line["event"] == "upstream response invalid"]
    assert line["log_level"] == "error"
    assert {name: line[name] for name in ("upstream", "method", "route", "status", "reason")} == {
        "upstream": "accounts",
        "method": "GET",
        "route": "/planks/{id}",
        "status": scripted.get("status", 200),
        "reason": reason,
    }
    assert "secret" not in str(logged) + response.text
    assert server.url not in str(logged) + response.text
