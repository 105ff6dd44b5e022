"""Routes of resources that have an entity tag."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import structlog
from litestar import Request, Response, get, put
from litestar.exceptions import NotFoundException
from litestar.params import FromPath
from litestar.response import Stream
from starkeel_http import check_preconditions

log = structlog.get_logger("http_sample")

VERSIONS = {"known": 1}
"""Versions of documents by name."""


@get("/documents/{name:str}")
async def document(name: FromPath[str]) -> Response[dict[str, str]]:
    if name not in VERSIONS:
        raise NotFoundException
    return Response({"name": name}, headers={"ETag": f'"{VERSIONS[name]}"', "Cache-Control": "no-cache"})


@get("/streamed-document")
async def streamed_document() -> Stream:
    async def chunks() -> AsyncGenerator[bytes]:
        try:
            while True:
                yield b"endless"
                await asyncio.sleep(0.01)
        finally:
            log.info("document ended")

    return Stream(chunks, headers={"ETag": '"1"'})


@put("/documents/{name:str}")
async def replace_document(name: FromPath[str], request: Request[Any, Any, Any]) -> Response[None]:
    version = VERSIONS.get(name)
    check_preconditions(request, None if version is None else f'"{version}"')
    VERSIONS[name] = (version or 0) + 1
    return Response(None, status_code=204, headers={"ETag": f'"{VERSIONS[name]}"'})
