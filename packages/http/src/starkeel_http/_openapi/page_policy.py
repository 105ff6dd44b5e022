"""`Content-Security-Policy` of Litestar's own OpenAPI pages, which load their scripts from a CDN."""

from base64 import b64encode
from collections.abc import Sequence
from copy import copy
from hashlib import sha256
from html.parser import HTMLParser
from typing import Any, Final
from urllib.parse import urlsplit

from litestar import MediaType, Request, Response
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import OpenAPIRenderPlugin

# What the pages' libraries do beyond loading the listed files: inline styles, fonts and images of their style
# sheets, workers from blobs, and requests of "Try it out".
_POLICY: Final = (
    "default-src 'none'; script-src {scripts}; style-src 'self' 'unsafe-inline'{styles}; "
    "img-src 'self' https: data: blob:; font-src 'self' https: data:; connect-src 'self'{servers}; "
    "worker-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def with_page_policies(config: OpenAPIConfig) -> OpenAPIConfig:
    """Return a configuration whose HTML pages have a policy that allows what they contain, and nothing else.

    The default policy forbids every script, so that Litestar's pages would be blank. A page that sets its own
    policy keeps it.
    """
    # Not `replace`, which would report Litestar's own deprecations again.
    changed = copy(config)
    plugins = {id(plugin): _with_policy(plugin) for plugin in config.render_plugins}
    changed.render_plugins = list(plugins.values())
    changed.default_plugin = plugins.get(id(config.default_plugin))
    return changed


def _with_policy(plugin: OpenAPIRenderPlugin) -> OpenAPIRenderPlugin:
    if plugin.media_type != MediaType.HTML:
        return plugin
    changed = copy(plugin)
    render = plugin.render

    def render_with_policy(request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> Any:
        page: Any = render(request, openapi_schema)
        if not isinstance(page, (bytes, str)):
            return page
        text = page if isinstance(page, str) else page.decode("utf-8", "replace")
        policy = page_policy(text, [str(server.get("url")) for server in openapi_schema.get("servers", ())])
        return Response(page, media_type=MediaType.HTML, headers={"Content-Security-Policy": policy})

    changed.render = render_with_policy  # type: ignore[method-assign]  # the type, which Litestar reads, stays
    return changed


def page_policy(page: str, servers: Sequence[str] = ()) -> str:
    """Return the policy for an HTML page: its files by address, its inline scripts by their hash.

    Args:
        page: The page.
        servers: URLs that its scripts may send requests to, besides the page's own origin.
    """
    found = _Sources()
    found.feed(page)
    found.close()
    hosts = dict.fromkeys(f"{url.scheme}://{url.netloc}" for url in map(urlsplit, servers) if url.netloc)
    return _POLICY.format(
        scripts=" ".join(found.scripts) or "'none'",
        styles="".join(f" {source}" for source in found.styles),
        servers="".join(f" {_escaped(host)}" for host in hosts),
    )


class _Sources(HTMLParser):
    """Collects the sources of scripts and style sheets."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=False)
        # Dictionaries as ordered sets.
        self.scripts: dict[str, None] = {}
        self.styles: dict[str, None] = {}
        self._is_inline = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        if tag == "script":
            source = named.get("src")
            self._is_inline = source is None
            if source:
                self.scripts[_source(source)] = None
        elif tag == "link" and named.get("rel") == "stylesheet" and named.get("href"):
            self.styles[_source(named["href"] or "")] = None

    def handle_data(self, data: str) -> None:
        if self._is_inline:
            digest = b64encode(sha256(data.encode()).digest()).decode()
            self.scripts[f"'sha256-{digest}'"] = None

    def handle_endtag(self, tag: str) -> None:
        self._is_inline = self._is_inline and tag != "script"


def _source(address: str) -> str:
    """Return the source expression of a file: without its query, which a policy cannot have."""
    url = urlsplit(address)
    return _escaped(f"{url.scheme or 'https'}://{url.netloc}{url.path}") if url.netloc else "'self'"


def _escaped(source: str) -> str:
    return source.replace(";", "%3B").replace(",", "%2C").replace(" ", "%20")
