"""The program `starkeel-observability`."""

import argparse
import os
import shutil
import sys
from collections.abc import Iterable, Sequence
from urllib.error import HTTPError, URLError
from urllib.request import ProxyHandler, build_opener

import msgspec

from ._spans import Request, SeenSpan, Told, requests
from ._waterfall import Waterfall

_TIMEOUT_S = 10.0
_NOT_THERE = 404


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says.

    Args:
        arguments: Of the command line; the process's own unless given.

    Returns:
        0, or 1 when nobody could be asked.
    """
    parser = argparse.ArgumentParser(prog="starkeel-observability", description=__doc__)
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    traces = verbs.add_parser("traces", help="the slowest and failed requests of the last minute")
    traces.add_argument(
        "urls", nargs="*", default=["http://127.0.0.1:9090"], metavar="URL", help="admin ports of services"
    )
    traces.add_argument("--limit", type=int, default=5, help="requests that are shown (5)")
    traces.add_argument("--trace", metavar="ID", help="this trace only; its beginning is enough")
    given = parser.parse_args(arguments)
    return _show(given.urls, given.limit, given.trace)


def _show(urls: Sequence[str], limit: int, trace: str | None) -> int:
    asked = [_asked(url) for url in urls]
    spans = [span for answer in asked for span in answer or ()]
    found = [
        request
        for request in requests(spans)
        if trace is None or request.root.trace_id.startswith(trace.lower())
    ]
    for line in _lines(found[: max(1, limit)], spans):
        sys.stdout.write(f"{line}\n")
    if not found:
        sys.stdout.write("no request has ended in the last minute\n")
    elif len(found) > limit:
        sys.stdout.write(f"{len(found) - limit} more of the last minute: --limit {len(found)}\n")
    return 0 if any(answer is not None for answer in asked) else 1


def _lines(found: Sequence[Request], spans: Iterable[SeenSpan]) -> Iterable[str]:
    is_ascii = not (sys.stdout.encoding or "").lower().startswith("utf")
    waterfall = Waterfall(
        width=shutil.get_terminal_size((80, 24)).columns,
        colours=_is_colourful(),
        services=sorted({span.service for span in spans}),
        is_ascii=is_ascii,
    )
    for request in found:
        yield from waterfall.drawn(request)
        yield ""


def _asked(url: str) -> list[SeenSpan] | None:
    """What a service tells of itself; None when it does not, which is said."""
    try:
        # Not by way of a proxy: it is this machine that is asked.
        with build_opener(ProxyHandler({})).open(f"{url.rstrip('/')}/traces", timeout=_TIMEOUT_S) as answer:
            told = msgspec.json.decode(answer.read(), type=Told)
    except HTTPError as error:
        why = "keeps no traces: it does so in development only" if error.code == _NOT_THERE else str(error)
        sys.stderr.write(f"{url} {why}\n")
        return None
    except (URLError, OSError, msgspec.DecodeError, ValueError) as error:
        sys.stderr.write(f"{url} cannot be asked: {error}\n")
        return None
    for worker in told.workers:
        if worker.error is not None:
            sys.stderr.write(f"{url} worker {worker.index}: {worker.error}\n")
    return [span for worker in told.workers for span in worker.spans]


def _is_colourful() -> bool:
    environ = os.environ  # noqa: TID251 - a program of its own, no service; terminals are told by these
    return (sys.stdout.isatty() or "FORCE_COLOR" in environ) and "NO_COLOR" not in environ
