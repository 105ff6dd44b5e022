"""What a request says about itself before it is answered."""

import re
from functools import lru_cache
from random import Random
from typing import Any, Final

from litestar.enums import ScopeType
from litestar.types import Scope
from opentelemetry import propagate
from opentelemetry.context import Context
from opentelemetry.propagators import textmap

from ._metrics._http import known_method

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")
_LONGEST_PATH: Final = 2048
# Not the module's own: an application may seed that.
_bits: Final = Random().getrandbits  # noqa: S311 - ids, not secrets
_OWN: Final = frozenset(["host", "user-agent", "x-request-id"])


class Request:
    """A request, or the handshake of a WebSocket.

    Args:
        scope: Of ASGI.
    """

    __slots__ = ("_headers", "id", "is_health", "method", "method_sent", "path", "scope")

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        # A WebSocket's handshake is a GET, which ASGI leaves out.
        self.method_sent: str = scope["method"] if scope["type"] == ScopeType.HTTP else "GET"
        self.method = known_method(self.method_sent)
        # Now: a router may shorten it.
        self.path: str = scope["path"][:_LONGEST_PATH]
        self.is_health = self.path.startswith("/health/")
        self._headers = _headers(scope)
        self.id = self._request_id()

    def header(self, name: str) -> str | None:
        """The first header of that name, if it is one that is looked at."""
        values = self._headers.get(name)
        return values[0] if values else None

    def parent(self) -> Context:
        """The trace that the request belongs to, with its baggage; empty when it brings none."""
        if self._headers.keys() <= _OWN:
            return Context()
        return propagate.extract(self._headers, context=Context())

    @property
    def route(self) -> str | None:
        """Template of the route, once it is known; None when none matched."""
        template: Any = self.scope.get("path_template")
        return template if isinstance(template, str) else None

    @property
    def client(self) -> str | None:
        """Address of the client, as far as it is known."""
        client = self.scope.get("client")
        return client[0] if client else None

    def _request_id(self) -> str:
        given = self._headers.get("x-request-id", ())
        if len(given) == 1 and _REQUEST_ID.fullmatch(given[0]):
            return given[0]
        return f"{_bits(128):032x}"


def _headers(scope: Scope) -> dict[str, list[str]]:
    """The headers that are looked at here, and those that carry a trace."""
    wanted = _wanted(propagate.get_global_textmap())
    found: dict[str, list[str]] = {}
    for raw, value in scope["headers"]:
        # Servers give names in lower case, but for test clients.
        name = wanted.get(raw) or wanted.get(raw.lower())
        if name is not None:
            found.setdefault(name, []).append(value.decode("latin-1"))
    return found


@lru_cache(maxsize=8)
def _wanted(propagator: textmap.TextMapPropagator) -> dict[bytes, str]:
    return {name.encode(): name for name in _OWN | {field.lower() for field in propagator.fields}}
