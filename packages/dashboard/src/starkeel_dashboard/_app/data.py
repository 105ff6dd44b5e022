"""Handlers of live updates, and of the data that commands in a terminal show."""

from collections.abc import AsyncIterator
from typing import Annotated, Any, Final

from litestar import Response, get
from litestar.handlers import HTTPRouteHandler
from litestar.params import Parameter
from litestar.response import Stream

from .._pages.logs import LogFilter, log_rows
from .._pages.overview import status_rows
from .._pages.traces import span_rows, trace_filter
from .._sources.services import Services
from .._store.store import Store

_MAX_READERS: Final = 64
Limit = Annotated[int, Parameter(ge=1, le=10_000)]


def data_handlers(store: Store, services: Services) -> list[HTTPRouteHandler]:
    """Return the handlers of live updates and of JSON.

    Args:
        store: What was received.
        services: Services that were named.
    """

    @get("/live")
    async def live() -> Stream | Response[bytes]:
        if store.changes.readers >= _MAX_READERS:
            return Response(b"too many pages are open", status_code=503, headers={"Retry-After": "30"})
        return Stream(_events(store), media_type="text/event-stream")

    @get("/data/services")
    async def services_data() -> list[dict[str, Any]]:
        return status_rows(store, services)

    @get("/data/logs")
    async def logs_data(
        service: str = "",
        level: str = "",
        text: str = "",
        field: str = "",
        trace: str = "",
        after: int = 0,
        limit: Limit = 200,
    ) -> list[dict[str, Any]]:
        chosen = LogFilter(service=service, level=level, text=text, field=field, trace=trace, after=after)
        return log_rows(store, chosen, limit)

    @get("/data/spans")
    async def spans_data(
        order: str = "failed", service: str = "", trace: str = "", limit: Limit = 100
    ) -> list[dict[str, Any]]:
        chosen = trace_filter(order=order, service=service)
        return list(span_rows(store, chosen, trace, limit))

    return [live, services_data, logs_data, spans_data]


async def _events(store: Store) -> AsyncIterator[bytes]:
    yield b"retry: 2000\n\n"
    async for is_changed in store.changes.follow():
        # A comment ends the response if the reader is gone.
        yield b"event: change\ndata: \n\n" if is_changed else b": idle\n\n"
