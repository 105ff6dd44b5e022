"""Calls from a Litestar service to others: pool, deadline, propagation, retries."""

from ._client import UpstreamClient
from ._plugin import ClientPlugin
from ._settings import UpstreamSettings, upstream
from ._url import UpstreamUrl

__all__ = ["ClientPlugin", "UpstreamClient", "UpstreamSettings", "UpstreamUrl", "upstream"]
