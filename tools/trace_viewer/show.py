"""Fetch recent spans from the admin ports of services and print them."""

import os
import shutil
import sys
from collections.abc import Iterable, Sequence
from urllib.error import HTTPError, URLError
from urllib.request import ProxyHandler, build_opener

import msgspec

from .spans import Request, SeenSpan, TracesPage, group_requests
from .waterfall import Waterfall

_TIMEOUT_S = 10.0
_NOT_FOUND = 404


def show(urls: Sequence[str], limit: int, trace: str | None) -> int:
    """Print requests, failed ones first, then the slowest.

    Args:
        urls: Admin URLs of services.
        limit: Number of requests.
        trace: Prefix of a trace id, to print that trace only.

    Returns:
        0, or 1 if no service responded.
    """
    responses = [_fetch(url) for url in urls]
    spans = [span for response in responses for span in response or ()]
    found = [
        request
        for request in group_requests(spans)
        if trace is None or request.root.trace_id.startswith(trace.lower())
    ]
    for line in _lines(found[: max(1, limit)], spans):
        sys.stdout.write(f"{line}\n")
    if not found:
        sys.stdout.write("no request has ended in the last minute\n")
    elif len(found) > limit:
        sys.stdout.write(f"{len(found) - limit} more of the last minute: --limit {len(found)}\n")
    return 0 if any(response is not None for response in responses) else 1


def _lines(found: Sequence[Request], spans: Iterable[SeenSpan]) -> Iterable[str]:
    waterfall = Waterfall(
        width=shutil.get_terminal_size((80, 24)).columns,
        colours=(sys.stdout.isatty() or "FORCE_COLOR" in os.environ) and "NO_COLOR" not in os.environ,
        services=sorted({span.service for span in spans}),
        is_ascii=not (sys.stdout.encoding or "").lower().startswith("utf"),
    )
    for request in found:
        yield from waterfall.draw(request)
        yield ""


def _fetch(url: str) -> list[SeenSpan] | None:
    """Return the spans of a service; prints the error and returns `None` on failure."""
    try:
        # Without a proxy, as the services run on this machine.
        with build_opener(ProxyHandler({})).open(f"{url.rstrip('/')}/traces", timeout=_TIMEOUT_S) as response:
            page = msgspec.json.decode(response.read(), type=TracesPage)
    except HTTPError as error:
        reason = "keeps no traces, as it does not run in development" if error.code == _NOT_FOUND else error
        sys.stderr.write(f"{url} {reason}\n")
        return None
    except (URLError, OSError, msgspec.DecodeError, ValueError) as error:
        sys.stderr.write(f"{url} is not reachable: {error}\n")
        return None
    for worker in page.workers:
        if worker.error is not None:
            sys.stderr.write(f"{url} worker {worker.index}: {worker.error}\n")
    return [span for worker in page.workers for span in worker.spans]
