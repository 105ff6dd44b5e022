"""Swagger UI for a service's OpenAPI document, served by the service itself."""

from html import escape
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from litestar import MediaType, Request, Response, Router
from litestar.datastructures import CacheControlHeader
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import SwaggerRenderPlugin
from litestar.static_files import create_static_files_router

_STATIC: Final = Path(__file__).parent / "static"
_CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_PAGE: Final = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="{base}/static/swagger-ui.css">
<script src="{base}/static/swagger-ui-bundle.js" defer></script>
<script src="{base}/static/schema_page.js" defer></script>
</head>
<body data-document="{document}">
<noscript>This page needs JavaScript to show <a href="{document}">the OpenAPI document</a>.</noscript>
<div id="swagger-ui"></div>
</body>
</html>
"""


class SchemaPage(SwaggerRenderPlugin):
    """Swagger UI without a CDN and under a strict `Content-Security-Policy`.

    Replaces Litestar's template, which has inline scripts and styles.
    """

    def __init__(self) -> None:
        super().__init__(path="/")

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> Any:
        """Return the page as a response with its own `Content-Security-Policy`."""
        document = self.get_openapi_json_route(request)
        page = _PAGE.format(
            title=escape(str(openapi_schema["info"]["title"])),
            base=escape(document.rpartition("/")[0]),
            document=escape(document),
        )
        headers = {"Content-Security-Policy": _CONTENT_SECURITY_POLICY}
        return Response(page, media_type=MediaType.HTML, headers=headers)

    def receive_router(self, router: Router) -> None:
        """Serve the files of Swagger UI below the page."""
        cache_control = CacheControlHeader(max_age=3600)
        router.register(
            create_static_files_router(
                "/static", [_STATIC], name="starkeel_http.static", cache_control=cache_control
            )
        )


def _version(service: str) -> str:
    try:
        return version(service)
    except (PackageNotFoundError, ValueError):
        # Not installed, or a name that no distribution can have.
        return "0"


def openapi(service: str, description: str) -> OpenAPIConfig:
    """Return a configuration with the document at `/schema/openapi.json` and Swagger UI at `/schema`.

    Args:
        service: Name of the service and of its distribution, whose version the document has; 0 if it is not
            installed.
        description: One sentence about the service.
    """
    return OpenAPIConfig(
        title=service,
        version=_version(service),
        description=description,
        path="/schema",
        render_plugins=[SchemaPage()],
        use_handler_docstrings=True,
    )
