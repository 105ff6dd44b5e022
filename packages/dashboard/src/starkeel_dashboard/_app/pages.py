"""Handlers of the pages."""

from typing import Annotated, Final
from urllib.parse import quote

from litestar import MediaType, Response, get, post
from litestar.enums import RequestEncodingType
from litestar.handlers import HTTPRouteHandler
from litestar.params import Body, Parameter
from litestar.response import Redirect

from .._pages import database, logs, metrics, overview, settings, traces, waterfall
from .._pages.render import render, static_file
from .._sources.channel import Channel, Command
from .._sources.services import Action, Services
from .._store.store import Store

_STATIC: Final = {
    "dashboard.css": "text/css; charset=utf-8",
    "dashboard.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
_COLOURS: Final = 5
_ACTIONS: Final[dict[str, Action]] = {"restart": "restart", "stop": "stop", "start": "start"}
Milliseconds = Annotated[float, Parameter(ge=0)]


def page_handlers(store: Store, services: Services, endpoint: str) -> list[HTTPRouteHandler]:
    """Return the handlers of the pages on what was received.

    Args:
        store: What was received.
        services: Services that were named.
        endpoint: URL that programs send to.
    """

    def names() -> list[str]:
        return overview.service_names(store, services)

    @get("/", media_type=MediaType.HTML)
    async def show_services() -> str:
        values = overview.services_page(store, services)
        return render("services", current="/", endpoint=endpoint, **values)

    @get("/logs", media_type=MediaType.HTML)
    async def show_logs(
        service: str = "", level: str = "", text: str = "", field: str = "", trace: str = ""
    ) -> str:
        chosen = logs.LogFilter(service=service, level=level, text=text, field=field, trace=trace.strip())
        return render("logs", current="/logs", names=names(), **logs.logs_page(store, chosen))

    @get("/traces", media_type=MediaType.HTML)
    async def show_traces(
        order: str = "newest",
        service: str = "",
        route: str = "",
        status: str = "",
        at_least_ms: str = "",
        attribute: str = "",
    ) -> str:
        chosen = traces.trace_filter(
            order=order,
            service=service,
            route=route,
            status=status.strip(),
            at_least_ms=at_least_ms,
            attribute=attribute,
        )
        return render("traces", current="/traces", names=names(), **traces.traces_page(store, chosen))

    @get("/traces/{trace_id:str}", media_type=MediaType.HTML)
    async def show_trace(trace_id: str) -> Response[str]:
        found = store.spans.get(_trace_id(trace_id))
        if found is None:
            text = "It has not arrived yet, newer traces have replaced it, or its spans were dropped."
            return problem_page(404, "The trace is not here", text)
        colours = {name: place % _COLOURS for place, name in enumerate(sorted(found.services))}
        values = waterfall.trace_page(store, found)
        return Response(
            render("trace", current="/traces", colours=colours, **values), media_type=MediaType.HTML
        )

    @get("/metrics", media_type=MediaType.HTML)
    async def show_metrics(service: str = "", text: str = "") -> str:
        values = metrics.metrics_page(store, service=service, text=text)
        return render("metrics", current="/metrics", names=names(), **values)

    return [show_services, show_logs, show_traces, show_trace, show_metrics]


def service_handlers(store: Store, services: Services, channel: Channel) -> list[HTTPRouteHandler]:
    """Return the handlers of the pages on what services report, of their processes, and of static files.

    Args:
        store: What was received.
        services: Services that were named.
        channel: Receives commands for services.
    """

    @get("/settings", media_type=MediaType.HTML)
    async def show_settings(shown: str = "all", text: str = "") -> str:
        return render(
            "settings", current="/settings", **settings.settings_page(services, shown=shown, text=text)
        )

    @get("/database", media_type=MediaType.HTML)
    async def show_database(service: str = "") -> str:
        values = database.database_page(store, services, service)
        return render(
            "database", current="/database", names=overview.service_names(store, services), **values
        )

    @post("/services/{name:str}", status_code=303)
    async def control(
        name: str,
        data: Annotated[dict[str, str], Body(media_type=RequestEncodingType.URL_ENCODED)],
    ) -> Response[str] | Redirect:
        action, found = _ACTIONS.get(data.get("action", "")), services.get(name)
        if action is None or found is None or not found.is_controlled:
            return problem_page(
                404, "Nothing was changed", f"{name!r} cannot be restarted or stopped from here."
            )
        channel.send(Command(action, name))
        return Redirect(f"/#service-{quote(name)}", status_code=303)

    @get("/static/{name:str}")
    async def static(name: str) -> Response[bytes]:
        if name not in _STATIC:
            return Response(b"not found", status_code=404, media_type=MediaType.TEXT)
        return Response(static_file(name), media_type=_STATIC[name])

    return [show_settings, show_database, control, static]


def problem_page(status: int, title: str, text: str) -> Response[str]:
    """Return a page that states a problem."""
    page = render("problem", current="", title=title, text=text)
    return Response(page, status_code=status, media_type=MediaType.HTML)


def _trace_id(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        return b""
