"""Requests by route, and a chart for each metric."""

import time
from itertools import islice
from typing import Any, Final

from .._store.store import Store
from .charts import HEIGHT, WIDTH, charts

_MAX_ROUTES: Final = 60
_MAX_CHARTS: Final = 60


def metrics_page(store: Store, *, service: str, text: str) -> dict[str, Any]:
    """Return the values of the page.

    Args:
        store: Where the metrics are kept.
        service: Name of the service; empty for all.
        text: Part of a metric's name or labels.
    """
    drawn = list(islice(charts(store.metrics.select(service=service, text=text.lower())), _MAX_CHARTS + 1))
    routes = [route for route in store.requests.routes(service) if text.lower() in route.route.lower()]
    return {
        "routes": routes[:_MAX_ROUTES] or list(islice(store.requests.routes(service), _MAX_ROUTES)),
        "charts": drawn[:_MAX_CHARTS],
        "has_more": len(drawn) > _MAX_CHARTS,
        "width": WIDTH,
        "height": HEIGHT,
        "now_s": time.time(),
        "service": service,
        "text": text,
        "store": store,
    }
