"""What the edge counts.

Imported only when an application is made: `prometheus_client` decides at its first import whether several
processes share their values, and settings are read before that is known.
"""

from prometheus_client import Counter

RATE_LIMITED = Counter(
    "rate_limit_requests",
    "Requests to limited routes: within, over, or not counted because Redis was away (passed or refused).",
    ["limit", "result"],
)
