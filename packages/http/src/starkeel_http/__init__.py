"""The edge of a Litestar service: problem details, deadlines, limits, CORS, headers.

Names are imported when they are first used: the main process of a service reads settings, and needs no
framework for it.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._idempotency import Idempotency
    from ._network import Network
    from ._opts import limit_by_address, limit_by_user, request_timeout
    from ._origin import Origin
    from ._plugin import EdgePlugin
    from ._problem_responses import ProblemDetails, problem_responses
    from ._rate import Rate
    from ._schema_page import SchemaPage, openapi
    from ._settings import EdgeSettings
    from ._validation import FieldError

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

_HOMES = {
    "EdgePlugin": "_plugin",
    "EdgeSettings": "_settings",
    "FieldError": "_validation",
    "Idempotency": "_idempotency",
    "Network": "_network",
    "Origin": "_origin",
    "ProblemDetails": "_problem_responses",
    "Rate": "_rate",
    "SchemaPage": "_schema_page",
    "limit_by_address": "_opts",
    "limit_by_user": "_opts",
    "openapi": "_schema_page",
    "problem_responses": "_problem_responses",
    "request_timeout": "_opts",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value
