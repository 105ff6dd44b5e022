"""Handlers of the page with the OpenAPI documents."""

import asyncio
from http.client import HTTPException
from typing import Annotated

import msgspec
from litestar import MediaType, get, post
from litestar.enums import RequestEncodingType
from litestar.handlers import HTTPRouteHandler
from litestar.params import Body

from .._pages.documents import Document, read_document
from .._pages.render import render
from .._sources.calls import CallAnswer, CallError, Calls
from .._sources.fetch import fetch
from .._sources.services import Service, Services


class CallForm(msgspec.Struct, kw_only=True):
    """Form of a call."""

    service: str
    method: str
    path: str
    body: str = ""
    with_token: str = ""


def call_handlers(services: Services, calls: Calls) -> list[HTTPRouteHandler]:
    """Return the handlers of the page with the OpenAPI documents.

    Args:
        services: Services whose documents are shown.
        calls: Sends requests to them.
    """

    @get("/api-documents", media_type=MediaType.HTML)
    async def show() -> str:
        return await _page(services, calls, None)

    @post("/api-documents", status_code=200, media_type=MediaType.HTML)
    async def call(data: Annotated[CallForm, Body(media_type=RequestEncodingType.URL_ENCODED)]) -> str:
        try:
            answer = await calls.send(
                data.service, data.method, data.path, body=data.body, with_token=bool(data.with_token)
            )
        except CallError as error:
            answer = CallAnswer(f"{data.method} {data.path}: no response", str(error), "")
        return await _page(services, calls, answer)

    return [show, call]


async def _page(services: Services, calls: Calls, answer: CallAnswer | None) -> str:
    documents = await asyncio.gather(*(_document(service) for service in services))
    return render(
        "api", current="/api-documents", documents=documents, answer=answer, can_sign_up=calls.can_sign_up
    )


async def _document(service: Service) -> Document:
    try:
        answer = await fetch(f"{service.address.url}{service.address.openapi_path}")
        if answer.status != 200:
            return Document(service.name, problem=f"{service.address.openapi_path} returns {answer.status}")
        return read_document(service.name, answer.body)
    except (OSError, ValueError, HTTPException) as error:
        return Document(service.name, problem=f"no document: {type(error).__name__}: {error}"[:300])
