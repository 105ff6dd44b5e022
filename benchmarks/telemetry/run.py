"""Measure CPU time and throughput of one handler: bare, on Starkeel, and on other stacks with telemetry.

Rounds of the contenders are interleaved, so that other load on the machine affects all of them alike. A
round counts only if the receiver got one server span per request. `--memory` sends one contender many
requests instead, and fails if its memory keeps growing.
"""

import argparse
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from ..load import Round, run_wrk
from ..server_process import ServerProcess
from ..span_receiver import SpanReceiver
from .contenders import CONTENDERS
from .report import Rounds, plot, report

_PATH = "/items/7"
_MAX_GROWTH = 0.05


def main() -> None:
    """Run the benchmark."""
    options = _options()
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        receiver = SpanReceiver()
        stack.callback(receiver.close)
        servers = {}
        for name in options.contenders[:1] if options.memory else options.contenders:
            servers[name] = CONTENDERS[name].serve(receiver.endpoint, directory / name)
            stack.callback(servers[name].close)
        if options.memory:
            _check_memory(servers[options.contenders[0]], receiver, options)
            return
        rounds = _rounds(servers, receiver, options)
    for line in report(rounds):
        _print(line)
    if options.plot:
        plot(options.plot, rounds)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--contenders", nargs="+", default=list(CONTENDERS), choices=list(CONTENDERS))
    parser.add_argument("--plot", type=Path, help="write a bar chart of the CPU times to this SVG file")
    parser.add_argument(
        "--memory", type=int, metavar="REQUESTS", help="send this number to the first contender only"
    )
    return parser.parse_args()


def _rounds(servers: dict[str, ServerProcess], receiver: SpanReceiver, options: argparse.Namespace) -> Rounds:
    for server in servers.values():
        _load(server, options, seconds=2)
        receiver.take()
    rounds: dict[str, list[Round]] = {name: [] for name in servers}
    names = list(servers)
    for number in range(options.rounds):
        # Each round starts with another contender.
        first = number % len(names)
        for name in names[first:] + names[:first]:
            done = _load(servers[name], options)
            if CONTENDERS[name].has_spans:
                receiver.verify(name, done.requests, connections=options.connections)
            rounds[name].append(done)
            _print(f"{number + 1:>3} {name:<18} {done}")
    return rounds


def _check_memory(server: ServerProcess, receiver: SpanReceiver, options: argparse.Namespace) -> None:
    """Compare the memory after all requests with that after the first tenth of them."""
    sent, after_first_tenth = 0, 0
    while sent < options.memory:
        sent += _load(server, options).requests
        receiver.take()
        after_first_tenth = after_first_tenth or (server.rss_bytes if sent >= options.memory / 10 else 0)
        _print(f"{sent:>9} requests {server.rss_bytes / 2**20:>7.1f} MiB")
    growth = server.rss_bytes / after_first_tenth - 1
    _print(f"grew by {growth:.1%} since the first tenth")
    if growth > _MAX_GROWTH:
        raise SystemExit(f"memory grows: more than {_MAX_GROWTH:.0%}")


def _load(server: ServerProcess, options: argparse.Namespace, *, seconds: int | None = None) -> Round:
    return run_wrk(server, _PATH, seconds=seconds or options.seconds, connections=options.connections)


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
