"""Routes whose responses are large enough to be compressed, or must not be."""

import asyncio
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from typing import Any

import structlog
from litestar import Request, Response, get, post
from litestar.params import FromPath
from litestar.response import Stream
from starkeel_http import compression, entity_tag, http_date, not_modified, request_timeout

log = structlog.get_logger("http_sample")

LAST_MODIFIED = datetime(2024, 2, 29, 12, 30, 15, tzinfo=UTC)
_TEXT = "Every line of this text is the same.\n" * 500
_UNALTERED: dict[str, dict[str, str]] = {
    "no-transform": {"Cache-Control": "private, No-Transform"},
    "encoded": {"Content-Encoding": "compress"},
    "image": {"Content-Type": "image/png"},
    "untyped": {"Content-Type": "application/octet-stream"},
    "digest": {"Repr-Digest": "sha-256=:AAAA:"},
    "cookie": {"Set-Cookie": "session=1"},
}
_released = asyncio.Event()


@get("/sized/{size:int}", media_type="text/plain")
async def sized(size: FromPath[int]) -> str:
    return _TEXT[:size]


@get("/unaltered/{name:str}", media_type="text/plain")
async def unaltered(name: FromPath[str]) -> Response[str]:
    return Response(_TEXT, headers=_UNALTERED[name], media_type=_UNALTERED[name].get("Content-Type"))


@post("/posted", status_code=200, media_type="text/plain")
async def posted() -> str:
    return _TEXT


@post("/posted-compressed", status_code=200, media_type="text/plain", opt=compression())
async def posted_compressed() -> Response[str]:
    return Response(_TEXT, headers={"ETag": '"7"'})


@get("/with-credentials", media_type="text/plain", opt=compression())
async def with_credentials() -> str:
    return _TEXT


@get("/never-compressed", media_type="text/plain", opt=compression(False))
async def never_compressed() -> str:
    return _TEXT


@get("/tagged/{tag:str}", media_type="text/plain")
async def tagged(tag: FromPath[str]) -> Response[str]:
    return Response(_TEXT, headers={"ETag": f'W/"{tag[5:]}"' if tag.startswith("weak-") else f'"{tag}"'})


@get("/varying", media_type="text/plain")
async def varying() -> Response[str]:
    return Response(_TEXT, headers={"Vary": "Accept-Language"})


@get("/huge", media_type="text/plain", opt=request_timeout(60))
async def huge() -> str:
    return _TEXT * 300


@get("/text-stream")
async def text_stream() -> Stream:
    _released.clear()

    async def chunks() -> AsyncGenerator[bytes]:
        yield b"first"
        await _released.wait()
        yield b""
        yield _TEXT.encode()

    return Stream(chunks, media_type="text/plain")


@post("/text-stream/release")
async def release() -> None:
    _released.set()


@get("/endless-text")
async def endless_text() -> Stream:
    async def chunks() -> AsyncGenerator[bytes]:
        try:
            while True:
                yield b"endless"
                await asyncio.sleep(0.01)
        finally:
            log.info("text ended")

    return Stream(chunks, media_type="text/plain")


@get("/broken-large", media_type="text/plain")
async def broken_large() -> Response[str]:
    return Response(_TEXT, headers={"X-Broken": "a\nb"})


@get("/dated", media_type="text/plain")
async def dated() -> Response[str]:
    return Response("dated", headers={"Last-Modified": http_date(LAST_MODIFIED)})


@get("/dated-and-tagged", media_type="text/plain")
async def dated_and_tagged() -> Response[str]:
    return Response("dated", headers={"Last-Modified": http_date(LAST_MODIFIED), "ETag": '"1"'})


@get("/body-tagged/{size:int}", media_type="text/plain", opt=entity_tag())
async def body_tagged(size: FromPath[int]) -> str:
    return _TEXT[:size]


@get("/body-tagged-stream", opt=entity_tag())
async def body_tagged_stream() -> Stream:
    async def chunks() -> AsyncGenerator[bytes]:
        yield b"one"
        yield b"two"

    return Stream(chunks, media_type="text/plain")


@get("/own-tag", media_type="text/plain", opt=entity_tag())
async def own_tag() -> Response[str]:
    return Response("own", headers={"ETag": '"own"'})


@get("/cheap", media_type="text/plain")
async def cheap(request: Request[Any, Any, Any]) -> Response[str]:
    caching = {"Cache-Control": "no-cache"}
    unchanged = not_modified(request, etag='"1"', last_modified=LAST_MODIFIED, headers=caching)
    if unchanged is not None:
        return unchanged
    log.info("representation rendered")
    headers = caching | {"ETag": '"1"', "Last-Modified": http_date(LAST_MODIFIED)}
    return Response(_TEXT, headers=headers)


LARGE_ROUTES: list[Any] = [
    body_tagged,
    body_tagged_stream,
    broken_large,
    cheap,
    dated,
    dated_and_tagged,
    endless_text,
    huge,
    never_compressed,
    own_tag,
    posted,
    posted_compressed,
    release,
    sized,
    tagged,
    text_stream,
    unaltered,
    varying,
    with_credentials,
]
