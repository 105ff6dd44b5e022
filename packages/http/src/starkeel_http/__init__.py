"""HTTP edge of a Litestar service: problem details, timeouts, limits, CORS, headers.

Names are imported on first use: the main process of a service reads only the settings and does not need
Litestar.
"""

from typing import TYPE_CHECKING

from starkeel_config import lazy_exports

if TYPE_CHECKING:
    from ._base.addresses import Network, Origin
    from ._base.hosts import AllowedHost
    from ._base.rate import Rate
    from ._base.route_options import (
        compression,
        entity_tag,
        limit_by_account,
        limit_by_address,
        limit_by_user,
        load_group,
        load_priority,
        request_timeout,
    )
    from ._base.settings import HttpSettings
    from ._errors.openapi import ProblemDetails, problem_responses
    from ._errors.problem_types import PROBLEM_TYPES, ProblemType
    from ._errors.validation import FieldError
    from ._idempotency.key import Idempotency
    from ._openapi.operation import response_links
    from ._openapi.page import SchemaPage, openapi
    from ._plugin import HttpPlugin
    from ._preconditions.entity_tags import EntityTags, check_preconditions
    from ._preconditions.reads import http_date, not_modified
    from ._rate_limit.account import AccountLimit
    from ._streams.event_queue import EventQueue, SlowConsumerError
    from ._streams.event_stream import EventSource, EventStream, send_events, server_sent_event
else:
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "_base.addresses": ["Network", "Origin"],
            "_base.hosts": ["AllowedHost"],
            "_base.rate": ["Rate"],
            "_base.route_options": [
                "compression",
                "entity_tag",
                "http_date",
                "limit_by_account",
                "limit_by_address",
                "limit_by_user",
                "load_group",
                "load_priority",
                "request_timeout",
            ],
            "_base.settings": ["HttpSettings"],
            "_errors.openapi": ["ProblemDetails", "problem_responses"],
            "_errors.problem_types": ["PROBLEM_TYPES", "ProblemType"],
            "_errors.validation": ["FieldError"],
            "_idempotency.key": ["Idempotency"],
            "_openapi.operation": ["response_links"],
            "_openapi.page": ["SchemaPage", "openapi"],
            "_plugin": ["HttpPlugin"],
            "_preconditions.entity_tags": ["EntityTags", "check_preconditions"],
            "_preconditions.reads": ["http_date", "not_modified"],
            "_streams.event_queue": ["EventQueue", "SlowConsumerError"],
            "_streams.event_stream": ["EventSource", "EventStream", "send_events", "server_sent_event"],
            "_rate_limit.account": ["AccountLimit"],
        },
        renamed={"EdgePlugin": "HttpPlugin", "EdgeSettings": "HttpSettings"},
    )

__all__ = [
    "PROBLEM_TYPES",
    "AccountLimit",
    "AllowedHost",
    "EntityTags",
    "EventQueue",
    "EventSource",
    "EventStream",
    "FieldError",
    "HttpPlugin",
    "HttpSettings",
    "Idempotency",
    "Network",
    "Origin",
    "ProblemDetails",
    "ProblemType",
    "Rate",
    "SchemaPage",
    "SlowConsumerError",
    "check_preconditions",
    "compression",
    "entity_tag",
    "http_date",
    "limit_by_account",
    "limit_by_address",
    "limit_by_user",
    "load_group",
    "load_priority",
    "not_modified",
    "openapi",
    "problem_responses",
    "request_timeout",
    "response_links",
    "send_events",
    "server_sent_event",
]
