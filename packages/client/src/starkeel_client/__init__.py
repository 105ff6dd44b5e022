"""HTTP client for calls between Litestar services: pool, deadline, propagation, retries.

Names are imported on first use: the main process of a service reads settings without importing Litestar.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._client import UpstreamClient
    from ._plugin import ClientPlugin
    from ._settings import UpstreamSettings, UpstreamUrl, upstream

__all__ = ["ClientPlugin", "UpstreamClient", "UpstreamSettings", "UpstreamUrl", "upstream"]

_HOMES = {
    "ClientPlugin": "_plugin",
    "UpstreamClient": "_client",
    "UpstreamSettings": "_settings",
    "UpstreamUrl": "_settings",
    "upstream": "_settings",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value
