"""The edge of a Litestar service: problem details, deadlines, limits, CORS, headers."""

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
