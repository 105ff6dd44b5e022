"""Measure what reading one row and writing one row costs through the whole stack, on Starkeel and on others.

A round with telemetry counts only if the receiver got one server span per request. All contenders share one
PostgreSQL.
"""

import time
from argparse import Namespace
from contextlib import ExitStack
from pathlib import Path

from starkeel_testing import running_postgres

from ..load import Round, interleaved, options, run_wrk, show
from ..server_process import ServerProcess
from ..span_receiver import SpanReceiver
from .contender import CONTENDERS
from .report import Rounds, report

_SCRIPT = Path(__file__).with_name("requests.lua")
_OPERATIONS = ("read", "write", "write_once")


def main() -> None:
    """Run the benchmark."""
    given = _options()
    with ExitStack() as stack:
        postgres = stack.enter_context(running_postgres())
        receiver = SpanReceiver()
        stack.callback(receiver.close)
        servers = {}
        # Starkeel is the first: its migration creates the table.
        for name in ("starkeel", *given.against):
            servers[name] = CONTENDERS[name].serve(database=postgres.url, endpoint=receiver.endpoint)
            stack.callback(servers[name].close)
        rounds, single_client = _rounds(servers, receiver, given)
    for line in report(rounds, single_client):
        show(line)


def _options() -> Namespace:
    parser = options(__doc__, connections=16)
    others = [name for name in CONTENDERS if name != "starkeel"]
    parser.add_argument("--against", nargs="*", default=others, choices=others)
    return parser.parse_args()


def _rounds(
    servers: dict[str, ServerProcess], receiver: SpanReceiver, given: Namespace
) -> tuple[Rounds, Rounds]:
    rounds: dict[tuple[str, str], list[Round]] = {}
    single_client: dict[tuple[str, str], list[Round]] = {}
    for name, server in servers.items():
        for operation in CONTENDERS[name].operations:
            _load(server, operation, 2, given.connections)
        receiver.take()
    for number in range(given.rounds):
        for operation in _OPERATIONS:
            names = [name for name in servers if operation in CONTENDERS[name].operations]
            for name in interleaved(names, number):
                done = _load(servers[name], operation, given.seconds, given.connections)
                if CONTENDERS[name].has_telemetry:
                    receiver.verify(name, done.requests, connections=given.connections)
                rounds.setdefault((name, operation), []).append(done)
                show(f"{number + 1:>3} {operation:<10} {name:<13} {done}")
        for operation in ("write", "write_once"):
            done = _load(servers["starkeel"], operation, 2, 1)
            single_client.setdefault(("starkeel", operation), []).append(done)
            receiver.take()
    return rounds, single_client


def _load(server: ServerProcess, operation: str, seconds: int, connections: int) -> Round:
    env = {"BENCH_OPERATION": operation, "BENCH_RUN": str(time.time_ns())}
    return run_wrk(server, "/", seconds=seconds, connections=connections, script=_SCRIPT, env=env)


if __name__ == "__main__":
    main()
