"""A page that shows a service's OpenAPI document, served by the service itself."""

from collections.abc import Mapping
from html import escape
from importlib.metadata import version
from importlib.resources import files
from typing import Any

from litestar import Request, Response, Router, get
from litestar.datastructures import CacheControlHeader, ResponseHeader
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import OpenAPIRenderPlugin

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""What the page may load: its own script, its own style and the document, all from the service."""

_ASSETS: Mapping[str, str] = {"page.js": "text/javascript", "page.css": "text/css"}


class SchemaPage(OpenAPIRenderPlugin):
    """Lists operations, schemas and examples; nothing of it comes from another host.

    Litestar's own pages load their scripts from a CDN, which neither a closed network nor a strict
    `Content-Security-Policy` lets through.
    """

    def __init__(self) -> None:
        super().__init__(path="/")

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        """Return the page; its script fetches the document and fills it."""
        document = self.get_openapi_json_route(request)
        title = str(openapi_schema.get("info", {}).get("title", ""))
        return (
            _text("page.html")
            .replace("{title}", escape(title))
            .replace("{document}", escape(document))
            .replace("{base}", escape(document.rpartition("/")[0]))
            .encode()
        )

    def receive_router(self, router: Router) -> None:
        """Serve script and style beside the page, and say what the page may load."""
        policy = ResponseHeader(name="Content-Security-Policy", value=CONTENT_SECURITY_POLICY)
        router.response_headers = [*(router.response_headers or ()), policy]
        for name, media_type in _ASSETS.items():
            router.register(_asset(name, media_type))


def openapi(service: str, description: str) -> OpenAPIConfig:
    """Describe a service at `/schema` (a page) and `/schema/openapi.json`.

    Args:
        service: Name of the service and of the distribution it is in, whose version is shown.
        description: One sentence on what the service is for.
    """
    return OpenAPIConfig(
        title=service,
        version=version(service),
        description=description,
        path="/schema",
        render_plugins=[SchemaPage()],
        use_handler_docstrings=True,
    )


def _asset(name: str, media_type: str) -> HTTPRouteHandler:
    @get(
        f"/{name}",
        include_in_schema=False,
        cache_control=CacheControlHeader(max_age=300),
        sync_to_thread=False,
    )
    def asset() -> Response[str]:
        return Response(_text(name), media_type=media_type)

    return asset


def _text(name: str) -> str:
    return files(__package__).joinpath("static", name).read_text("utf-8")
