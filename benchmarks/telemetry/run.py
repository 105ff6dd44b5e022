"""Measure CPU time and throughput of one handler: bare, on Starkeel, and on other stacks with telemetry.

A round counts only if the receiver got one server span per request. `--memory` sends one contender many
requests instead, and fails if its memory keeps growing.
"""

import tempfile
from argparse import Namespace
from contextlib import ExitStack
from pathlib import Path

from ..load import Round, interleaved, options, run_wrk, show
from ..server_process import ServerProcess
from ..span_receiver import SpanReceiver
from .contender import CONTENDERS
from .report import Rounds, plot, report

_PATH = "/items/7"
_MAX_GROWTH = 0.05


def main() -> None:
    """Run the benchmark."""
    given = _options()
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        receiver = SpanReceiver()
        stack.callback(receiver.close)
        servers = {}
        for name in given.contenders[:1] if given.memory else given.contenders:
            servers[name] = CONTENDERS[name].serve(receiver.endpoint, directory / name)
            stack.callback(servers[name].close)
        if given.memory:
            _check_memory(servers[given.contenders[0]], receiver, given)
            return
        rounds = _rounds(servers, receiver, given)
    for line in report(rounds):
        show(line)
    if given.plot:
        plot(given.plot, rounds)


def _options() -> Namespace:
    parser = options(__doc__, connections=32)
    parser.add_argument("--contenders", nargs="+", default=list(CONTENDERS), choices=list(CONTENDERS))
    parser.add_argument("--plot", type=Path, help="write a bar chart of the CPU times to this SVG file")
    parser.add_argument(
        "--memory", type=int, metavar="REQUESTS", help="send this number to the first contender only"
    )
    return parser.parse_args()


def _rounds(servers: dict[str, ServerProcess], receiver: SpanReceiver, given: Namespace) -> Rounds:
    for server in servers.values():
        _load(server, given, seconds=2)
        receiver.take()
    rounds: dict[str, list[Round]] = {name: [] for name in servers}
    for number in range(given.rounds):
        for name in interleaved(list(servers), number):
            done = _load(servers[name], given)
            if CONTENDERS[name].has_spans:
                receiver.verify(name, done.requests, connections=given.connections)
            rounds[name].append(done)
            show(f"{number + 1:>3} {name:<18} {done}")
    return rounds


def _check_memory(server: ServerProcess, receiver: SpanReceiver, given: Namespace) -> None:
    """Compare the memory after all requests with that after the first tenth of them."""
    sent, after_first_tenth = 0, 0
    while sent < given.memory:
        sent += _load(server, given).requests
        receiver.take()
        after_first_tenth = after_first_tenth or (server.rss_bytes if sent >= given.memory / 10 else 0)
        show(f"{sent:>9} requests {server.rss_bytes / 2**20:>7.1f} MiB")
    growth = server.rss_bytes / after_first_tenth - 1
    show(f"grew by {growth:.1%} since the first tenth")
    if growth > _MAX_GROWTH:
        raise SystemExit(f"memory grows: more than {_MAX_GROWTH:.0%}")


def _load(server: ServerProcess, given: Namespace, *, seconds: int | None = None) -> Round:
    return run_wrk(server, _PATH, seconds=seconds or given.seconds, connections=given.connections)


if __name__ == "__main__":
    main()
