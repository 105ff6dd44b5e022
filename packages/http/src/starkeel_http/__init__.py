"""HTTP edge of a Litestar service: problem details, timeouts, limits, CORS, headers.

Names are imported on first use: the main process of a service reads only the settings and does not need
Litestar.
"""

from typing import TYPE_CHECKING

from starkeel_config import lazy_exports

if TYPE_CHECKING:
    from ._base.addresses import Network, Origin
    from ._base.rate import Rate
    from ._base.route_options import (
        limit_by_address,
        limit_by_user,
        load_group,
        load_priority,
        request_timeout,
    )
    from ._base.settings import HttpSettings
    from ._errors.openapi import ProblemDetails, problem_responses
    from ._errors.validation import FieldError
    from ._idempotency.key import Idempotency
    from ._openapi.page import SchemaPage, openapi
    from ._plugin import HttpPlugin
    from ._preconditions.entity_tags import EntityTags, check_preconditions
else:
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "_base.addresses": ["Network", "Origin"],
            "_base.rate": ["Rate"],
            "_base.route_options": [
                "limit_by_address",
                "limit_by_user",
                "load_group",
                "load_priority",
                "request_timeout",
            ],
            "_base.settings": ["HttpSettings"],
            "_errors.openapi": ["ProblemDetails", "problem_responses"],
            "_errors.validation": ["FieldError"],
            "_idempotency.key": ["Idempotency"],
            "_openapi.page": ["SchemaPage", "openapi"],
            "_plugin": ["HttpPlugin"],
            "_preconditions.entity_tags": ["EntityTags", "check_preconditions"],
        },
        renamed={"EdgePlugin": "HttpPlugin", "EdgeSettings": "HttpSettings"},
    )

__all__ = [
    "EntityTags",
    "FieldError",
    "HttpPlugin",
    "HttpSettings",
    "Idempotency",
    "Network",
    "Origin",
    "ProblemDetails",
    "Rate",
    "SchemaPage",
    "check_preconditions",
    "limit_by_address",
    "limit_by_user",
    "load_group",
    "load_priority",
    "openapi",
    "problem_responses",
    "request_timeout",
]
