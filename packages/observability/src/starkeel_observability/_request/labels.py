"""Bounded label values for requests."""

from typing import Final

OTHER: Final = "_OTHER"
"""Label of methods that are not in `METHODS`, as OpenTelemetry's conventions for HTTP define it."""
METHODS: Final = frozenset(
    ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"]
)
"""Methods used as label values; clients can send any text."""

Key = tuple[str, str | None, int]
"""Method (`OTHER` if it is not in `METHODS`), route template if a route matched, response status."""
