"""Show the slowest and failed requests as waterfalls, by default those of `just dev`.

They come from its dashboard; without one, from the admin ports, which keep those of the last minute.
"""

import argparse
import os
import shutil
import sys
from urllib.error import HTTPError
from urllib.request import ProxyHandler, build_opener

import msgspec

from .dashboard_data import DashboardError, fetch
from .trace_viewer.spans import SeenSpan, TracesPage, group_requests
from .trace_viewer.waterfall import Waterfall
from .workspace import parse, running_dashboard

_TIMEOUT_S = 10.0
_MAX_TRACES = 1000


def main() -> int:
    """Print requests, failed ones first, then the slowest; return 1 if no service responded."""
    parser = argparse.ArgumentParser(prog="just traces", description=__doc__)
    # Options, as positional numbers are ports.
    parser.add_argument("--limit", type=int, default=5, help="number of requests to show (5)")
    parser.add_argument("--trace", metavar="ID", default="", help="show this trace only; a prefix is enough")
    parser.add_argument(
        "--url", action="append", help="admin URL of a service, repeatable; replaces the ports"
    )
    given, members = parse(parser)
    dashboard = None if given.url else running_dashboard(given.directory)
    if dashboard is not None:
        responses = [_kept(dashboard, given.trace)]
    else:
        responses = [_fetch(url) for url in given.url or [member.metrics_url for member in members]]
    spans = [span for response in responses for span in response or ()]
    waterfall = Waterfall(
        width=shutil.get_terminal_size((80, 24)).columns,
        colours=(sys.stdout.isatty() or "FORCE_COLOR" in os.environ) and "NO_COLOR" not in os.environ,
        services=sorted({span.service for span in spans}),
        is_ascii=not (sys.stdout.encoding or "").lower().startswith("utf"),
    )
    trace_id = given.trace.lower()
    found = [request for request in group_requests(spans) if request.root.trace_id.startswith(trace_id)]
    for request in found[: max(1, given.limit)]:
        sys.stdout.write("\n".join([*waterfall.draw(request), "", ""]))
    if all(response is None for response in responses):
        sys.stderr.write("no service responds; start them in another terminal: uv run just dev\n")
    elif not found:
        sys.stdout.write(
            "no request has ended\n" if dashboard else "no request has ended in the last minute\n"
        )
    elif len(found) > given.limit:
        sys.stdout.write(f"{len(found) - given.limit} more: --limit {len(found)}\n")
    return 0 if any(response is not None for response in responses) else 1


def _kept(dashboard: str, trace: str) -> list[SeenSpan] | None:
    """Return the spans that a dashboard keeps; prints the error and returns `None` on failure."""
    try:
        return msgspec.convert(fetch(dashboard, "spans", trace=trace, limit=_MAX_TRACES), list[SeenSpan])
    except (DashboardError, msgspec.ValidationError) as error:
        sys.stderr.write(f"{error}\n")
        return None


def _fetch(url: str) -> list[SeenSpan] | None:
    """Return the spans of a service; prints the error and returns `None` on failure."""
    try:
        # Without a proxy, as the services run on this machine.
        with build_opener(ProxyHandler({})).open(f"{url.rstrip('/')}/traces", timeout=_TIMEOUT_S) as response:
            page = msgspec.json.decode(response.read(), type=TracesPage)
    except HTTPError as error:
        reason = "keeps no traces, as it does not run in development" if error.code == 404 else error
        sys.stderr.write(f"{url} {reason}\n")
        return None
    except (OSError, ValueError, msgspec.DecodeError) as error:
        sys.stderr.write(f"{url} is not reachable: {error}\n")
        return None
    for worker in page.workers:
        if worker.error is not None:
            sys.stderr.write(f"{url} worker {worker.index}: {worker.error}\n")
    return [span for worker in page.workers for span in worker.spans]


if __name__ == "__main__":
    sys.exit(main())
