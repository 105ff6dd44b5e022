"""HTTP client for calls between Litestar services: pool, deadline, propagation, retries, circuit breaker.

Names are imported on first use: the main process of a service reads settings without importing Litestar.
"""

from typing import TYPE_CHECKING

from starkeel_config import lazy_exports

if TYPE_CHECKING:
    from ._client import UpstreamClient
    from ._errors import BreakerOpenError, ProblemDetails, UpstreamBusyError, UpstreamProblemError
    from ._plugin import ClientPlugin
    from ._settings import UpstreamSettings, UpstreamUrl, upstream
else:
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "_client": ["UpstreamClient"],
            "_errors": ["BreakerOpenError", "ProblemDetails", "UpstreamBusyError", "UpstreamProblemError"],
            "_plugin": ["ClientPlugin"],
            "_settings": ["UpstreamSettings", "UpstreamUrl", "upstream"],
        },
    )

__all__ = [
    "BreakerOpenError",
    "ClientPlugin",
    "ProblemDetails",
    "UpstreamBusyError",
    "UpstreamClient",
    "UpstreamProblemError",
    "UpstreamSettings",
    "UpstreamUrl",
    "upstream",
]
