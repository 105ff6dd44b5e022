"""HTTP edge of a Litestar service: problem details, timeouts, limits, CORS, headers.

Names are imported on first use: the main process of a service reads only the settings and does not need
Litestar.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._base.addresses import Network, Origin
    from ._base.rate import Rate
    from ._base.route_options import limit_by_address, limit_by_user, request_timeout
    from ._base.settings import EdgeSettings
    from ._errors.openapi import ProblemDetails, problem_responses
    from ._errors.validation import FieldError
    from ._idempotency.key import Idempotency
    from ._openapi.page import SchemaPage, openapi
    from ._plugin import EdgePlugin

__all__ = [
    "EdgePlugin",
    "EdgeSettings",
    "FieldError",
    "Idempotency",
    "Network",
    "Origin",
    "ProblemDetails",
    "Rate",
    "SchemaPage",
    "limit_by_address",
    "limit_by_user",
    "openapi",
    "problem_responses",
    "request_timeout",
]

_MODULES = {
    "EdgePlugin": "_plugin",
    "EdgeSettings": "_base.settings",
    "FieldError": "_errors.validation",
    "Idempotency": "_idempotency.key",
    "Network": "_base.addresses",
    "Origin": "_base.addresses",
    "ProblemDetails": "_errors.openapi",
    "Rate": "_base.rate",
    "SchemaPage": "_openapi.page",
    "limit_by_address": "_base.route_options",
    "limit_by_user": "_base.route_options",
    "openapi": "_openapi.page",
    "problem_responses": "_errors.openapi",
    "request_timeout": "_base.route_options",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f".{_MODULES[name]}", __name__), name)
    globals()[name] = value
    return value
