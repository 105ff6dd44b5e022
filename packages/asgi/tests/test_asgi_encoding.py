"""Responses that pass through an encoder."""

from typing import Any

import pytest
from litestar import asgi, get
from litestar.exceptions import ClientException
from litestar.types import Receive, Scope, Send


class Doubling:
    """Encodes each part as twice the part."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.failure = failure

    async def encode(self, part: bytes, *, is_last: bool) -> bytes:
        if self.failure is not None:
            raise self.failure
        return part * 2 + (b"." if is_last else b"")


@get("/whole", media_type="text/plain")
async def whole() -> str:
    return "whole"


@asgi("/parts", copy_scope=True)
async def parts(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for part in (b"a", b"b", b""):
        await send({"type": "http.response.body", "body": part, "more_body": bool(part)})


@get("/error")
async def error() -> None:
    raise ClientException("wrong")


class Encoding:
    """Layer that has responses encoded; the first by an encoder that may fail."""

    order = 25

    def __init__(self, failure: Exception | None = None) -> None:
        self.failures = [failure]

    def begin(self, exchange: Any) -> None:
        exchange.shape_response = self.shape

    def end(self, exchange: Any, error: BaseException | None) -> None: ...

    def shape(self, exchange: Any, status: int, given: Any, names: Any) -> Any:
        exchange.encode_body(Doubling(self.failures.pop() if self.failures else None))
        return status, [header for header in given if header[0] != b"content-length"]


def body_of(sent: list[Any]) -> bytes:
    return b"".join(message.get("body", b"") for message in sent[1:])


async def test_a_body_of_one_part_has_its_encoded_length(drive: Any) -> None:
    async with drive([whole], Encoding()) as driver:
        sent = await driver.request("GET /whole")

    assert body_of(sent) == b"wholewhole."
    assert dict(sent[0]["headers"])[b"content-length"] == b"11"
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]


async def test_a_stream_is_sent_part_by_part_without_a_length(drive: Any) -> None:
    async with drive([parts], Encoding()) as driver:
        sent = await driver.request("GET /parts")

    assert [message.get("body") for message in sent[1:]][:2] == [b"aa", b"bb"]
    assert body_of(sent).endswith(b".")
    assert b"content-length" not in dict(sent[0]["headers"])
    assert sent[-1]["more_body"] is False


async def test_a_head_has_the_encoded_length(drive: Any) -> None:
    async with drive([whole], Encoding()) as driver:
        sent = await driver.request("HEAD /whole")

    assert body_of(sent) == b""
    assert dict(sent[0]["headers"])[b"content-length"] == b"11"


async def test_an_encoder_that_fails_before_anything_was_sent_is_an_error_response(drive: Any) -> None:
    async with drive([whole], Encoding(MemoryError("no memory"))) as driver:
        sent = await driver.request("GET /whole")

    assert [message["status"] for message in sent if "status" in message] == [500]


async def test_the_sent_bytes_are_those_of_the_encoded_body(drive: Any) -> None:
    sizes: list[int] = []

    class Sizes:
        order = 20

        def begin(self, exchange: Any) -> None: ...

        def end(self, exchange: Any, error: BaseException | None) -> None:
            sizes.append(exchange.sent_bytes)

    async with drive([whole, parts], Sizes(), Encoding()) as driver:
        await driver.request("GET /whole")
        await driver.request("GET /parts")

    assert sizes == [11, 5]


async def test_the_response_of_a_refused_header_is_encoded_once(drive: Any) -> None:
    refused: list[Any] = []
    sent: list[Any] = []

    async def keep(message: Any) -> None:
        sent.append(message)

    def send(message: Any) -> Any:
        # As Granian: before anything is awaited.
        if message["type"] == "http.response.start" and not refused:
            refused.append(message)
            raise ValueError("invalid header")
        return keep(message)

    async with drive([whole], Encoding()) as driver:
        await driver.request("GET /whole", send=send)

    assert refused
    assert sent[0]["status"] == 500
    length = dict(sent[0]["headers"])[b"content-length"]
    assert length == b"%d" % len(body_of(sent))


@pytest.mark.parametrize("path", ["/error", "/nowhere"])
async def test_error_responses_are_encoded_or_have_their_length(drive: Any, path: str) -> None:
    async with drive([error], Encoding()) as driver:
        sent = await driver.request(f"GET {path}")

    assert sent[0]["status"] in {400, 404}
    assert dict(sent[0]["headers"])[b"content-length"] == b"%d" % len(body_of(sent))


async def test_a_response_may_become_an_error_before_it_starts(drive: Any) -> None:
    class Refusing(Encoding):
        def shape(self, exchange: Any, status: int, given: Any, names: Any) -> Any:
            if status == 200:
                raise ClientException("changed", status_code=412)
            return status, given

    async with drive([whole], Refusing()) as driver:
        sent = await driver.request("GET /whole")

    assert [message["status"] for message in sent if "status" in message] == [412]
    assert b"changed" in body_of(sent)
