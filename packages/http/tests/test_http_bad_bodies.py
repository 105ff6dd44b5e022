"""Malformed, invalid and oversized bodies are problems, never a 5xx."""

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from starkeel_testing import Service

JSON = {"Content-Type": "application/json"}
PROBLEM = "application/problem+json"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "required"),
        (b"{", "JSON"),
        (b'{"quantity": 1', "JSON"),
        (b'{"quantity": 1} x', "trailing"),
        (b'\xef\xbb\xbf{"quantity": 1}', "JSON"),
        (b'{"quantity": 1, "name": "\xff"}', "UTF-8"),
        (b'{"quantity": 1, "name": "\\ud800"}', "JSON"),
        (b'{"quantity": NaN}', "JSON"),
        (b'{"quantity": -Infinity}', "JSON"),
        (b'{"quantity": 1, "weight": NaN}', "JSON"),
        (b'{"quantity": 1e400}', "quantity"),
        (b'{"quantity": 1e3000000000}', "quantity"),
        (b'{"quantity": 1, "weight": 1e400}', "weight"),
        (b'{"quantity": ' + b"9" * 5000 + b"}", "quantity"),
        (b'{"quantity": 9223372036854775808}', "quantity"),
        (b'{"quantity": 1001}', "<= 1000"),
        (b'{"quantity": "1"}', "quantity"),
        (b'{"quantity": true}', "quantity"),
        (b'{"quantity": 1.5}', "quantity"),
        (b'{"quantity": 1.0}', "quantity"),
        (b'{"quantity": null}', "quantity"),
        (b'{"quantity": 1, "flag": 1}', "flag"),
        (b'{"quantity": 1, "flag": "true"}', "flag"),
        (b'{"quantity": 1, "name": 1}', "name"),
        (b'{"quantity": 1, "weight": "1"}', "weight"),
        (b'{"quantity": 1, "parts": [1, "2"]}', "parts[1]"),
        (b'{"quantity": 1, "parts": "1"}', "parts"),
        (b'{"quantity": 1, "kind": "hunter2"}', "`plank`, `nail`"),
        (b'{"quantity": 1, "price": 1}', "price"),
        (b'{"name": "x"}', "quantity"),
        (b"[" * 100_000, "body"),
        (b'{"quantity":' * 50_000, "quantity"),
        (b'{"quantity": 1, "parts": ' + b"[" * 100_000, "parts"),
        (b"null", "body"),
        (b"[]", "body"),
        (b'"1"', "body"),
    ],
    ids=lambda content: content[:40].decode("latin-1") if isinstance(content, bytes) else content,
)
def test_an_invalid_body_is_a_problem(sample: Service, content: bytes, expected: str) -> None:
    response = sample.client.post("/items", content=content, headers=JSON)

    assert response.status_code == 400, response.text
    assert response.headers["content-type"] == PROBLEM
    assert expected in response.text
    assert "hunter2" not in response.text


@pytest.mark.parametrize(
    "content", [b"[" * 100_000, b'{"a":' * 50_000, b"\xff", b"NaN", b"1e400", b"9" * 5000, b'"\\ud800"', b"{"]
)
def test_malformed_json_read_by_the_handler_is_a_problem(sample: Service, content: bytes) -> None:
    response = sample.client.post("/raw", content=content, headers=JSON)

    assert (response.status_code, response.headers["content-type"]) == (400, PROBLEM), response.text


def test_all_invalid_fields_are_listed(sample: Service) -> None:
    response = sample.client.post(
        "/items", json={"name": "x" * 21, "parts": [-1], "kind": "nail", "price": 1}
    )

    problem = response.json()
    assert problem["detail"] == "4 fields are invalid."
    assert {error["field"]: error["message"] for error in problem["errors"]} == {
        "quantity": "is required",
        "name": "Expected `str` of length <= 20",
        "parts[0]": "Expected `int` >= 0",
        "price": "is unknown",
    }
    assert {error["location"] for error in problem["errors"]} == {"body"}


@pytest.mark.parametrize(
    "media_type", [None, "application/json; charset=utf-8", "APPLICATION/JSON", "application/problem+json"]
)
def test_a_body_of_any_json_type_is_decoded(sample: Service, media_type: str | None) -> None:
    headers = {"Content-Type": media_type} if media_type else {}
    response = sample.client.post("/items", content=b'{"quantity": 7, "kind": "nail"}', headers=headers)

    assert response.status_code == 201, response.text
    assert response.json()["quantity"] == 7


@pytest.mark.parametrize("path", ["/items", "/raw"])
@pytest.mark.parametrize(
    "media_type", ["application/x-www-form-urlencoded", "text/plain", "a/b; c", "application/json; charset=x"]
)
def test_a_body_of_another_type_is_rejected(sample: Service, media_type: str, path: str) -> None:
    response = sample.client.post(path, content=b'{"quantity": 7}', headers={"Content-Type": media_type})

    assert (response.status_code, response.headers["accept"]) == (415, "application/json")
    assert media_type not in response.text


def test_lists_of_dataclasses_are_decoded_strictly(sample: Service) -> None:
    assert sample.client.post("/points", json=[{"x": 1}, {"x": 2}]).json() == 3
    refused = sample.client.post("/points", json=[{"x": "1"}])
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (400, "[0].x")


def test_invalid_query_and_header_parameters_are_named(sample: Service) -> None:
    assert sample.client.get("/query?limit=100").json() == 100
    for url, field, location in (
        ("/query?limit=101&token=hunter2", "limit", "query"),
        ("/query?limit=x&token=hunter2", "limit", "query"),
        ("/query?limit=1e400", "limit", "query"),
        ("/query?limit=" + "9" * 5000, "limit", "query"),
        ("/query?token=hunter2", "limit", "query"),
    ):
        problem = sample.client.get(url).json()
        assert problem["status"] == 400, problem
        assert [(e["field"], e["location"]) for e in problem["errors"]] == [(field, location)], problem
        assert "hunter2" not in str(problem)
    problem = sample.client.get("/query?limit=1", headers={"X-Tag": "long"}).json()
    assert [(e["field"], e["location"]) for e in problem["errors"]] == [("X-Tag", "header")]


def test_an_oversized_content_length_is_rejected_at_once(sample: Service) -> None:
    with _connected(sample) as connection:
        connection.sendall(
            b"POST /items HTTP/1.1\r\nHost: x\r\nContent-Length: 1000001\r\nExpect: 100-continue\r\n\r\n"
        )
        assert connection.recv(65536).startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize("length", ["9" * 18, "9" * 19, "9" * 40])
def test_an_absurd_content_length_is_a_client_error(sample: Service, length: str) -> None:
    with _connected(sample) as connection:
        connection.sendall(f"POST /items HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n".encode())
        assert connection.recv(65536).split(b" ")[1] in {b"413", b"400"}


@pytest.mark.parametrize("size", [1_000_001, 1_100_000, 3_000_000])
def test_the_connection_survives_an_oversized_body(sample: Service, size: int) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(size // 50_000):
            yield b" " * 50_000
        yield b" " * (size % 50_000) or b" "

    for content in (b" " * size, chunks()):
        response = sample.client.post("/items", content=content, headers=JSON)
        assert (response.status_code, response.headers["content-type"]) == (413, PROBLEM)
        assert "1000000" in response.json()["detail"]
        assert sample.client.post("/items", json={"quantity": 1}).status_code == 201


def test_a_body_at_the_limit_is_accepted(sample: Service) -> None:
    content = b'{"quantity": 1}'
    response = sample.client.post("/items", content=content + b" " * (1_000_000 - len(content)), headers=JSON)
    assert response.status_code == 201


def test_a_route_may_accept_larger_bodies(sample: Service) -> None:
    assert sample.client.put("/upload", content=b"x" * 3_000_000).json() == 3_000_000
    assert sample.client.put("/upload", content=b"x" * 4_000_001).status_code == 413


def test_a_stalled_body_is_a_408(sample: Service) -> None:
    with _connected(sample) as connection:
        connection.sendall(b"POST /items HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\n{")
        assert connection.recv(65536).startswith(b"HTTP/1.1 408")


def _connected(sample: Service) -> socket.socket:
    host, _, port = sample.url.removeprefix("http://").partition(":")
    return socket.create_connection((host, int(port)), timeout=10)


def test_no_invalid_body_was_logged_as_a_failure(sample: Service) -> None:
    failed: list[Any] = [line for line in sample.logs() if line["message"] == "request failed"]
    assert not failed
