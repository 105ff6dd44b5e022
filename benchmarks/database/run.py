"""Measure what reading one row and writing one row costs through the whole stack, on Starkeel and on others.

Rounds of the contenders are interleaved, so that other load on the machine affects all of them alike. A
round with telemetry counts only if the receiver got one server span per request. All contenders share one
PostgreSQL.
"""

import argparse
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from starkeel_testing import running_postgres

from ..load import Round, run_wrk
from ..server_process import ServerProcess
from ..span_receiver import SpanReceiver
from .contenders import CONTENDERS
from .report import Rounds, report

_SCRIPT = Path(__file__).with_name("requests.lua")
_OPERATIONS = ("read", "write", "write_once")


def main() -> None:
    """Run the benchmark."""
    options = _options()
    with ExitStack() as stack:
        postgres = stack.enter_context(running_postgres())
        receiver = SpanReceiver()
        stack.callback(receiver.close)
        servers = {}
        # Starkeel is the first: its migration creates the table.
        for name in ("starkeel", *options.against):
            servers[name] = CONTENDERS[name].serve(database=postgres.url, endpoint=receiver.endpoint)
            stack.callback(servers[name].close)
        rounds, single_client = _rounds(servers, receiver, options)
    for line in report(rounds, single_client):
        _print(line)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--connections", type=int, default=16)
    others = [name for name in CONTENDERS if name != "starkeel"]
    parser.add_argument("--against", nargs="*", default=others, choices=others)
    return parser.parse_args()


def _rounds(
    servers: dict[str, ServerProcess], receiver: SpanReceiver, options: argparse.Namespace
) -> tuple[Rounds, Rounds]:
    rounds: dict[tuple[str, str], list[Round]] = {}
    single_client: dict[tuple[str, str], list[Round]] = {}
    for name, server in servers.items():
        for operation in CONTENDERS[name].operations:
            _load(server, operation, 2, options.connections)
        receiver.take()
    for number in range(options.rounds):
        for operation in _OPERATIONS:
            names = [name for name in servers if operation in CONTENDERS[name].operations]
            for name in names if number % 2 == 0 else names[::-1]:
                done = _load(servers[name], operation, options.seconds, options.connections)
                if CONTENDERS[name].has_telemetry:
                    receiver.verify(name, done.requests, connections=options.connections)
                rounds.setdefault((name, operation), []).append(done)
                _print(f"{number + 1:>3} {operation:<10} {name:<13} {done}")
        for operation in ("write", "write_once"):
            done = _load(servers["starkeel"], operation, 2, 1)
            single_client.setdefault(("starkeel", operation), []).append(done)
            receiver.take()
    return rounds, single_client


def _load(server: ServerProcess, operation: str, seconds: int, connections: int) -> Round:
    env = {"BENCH_OPERATION": operation, "BENCH_RUN": str(time.time_ns())}
    return run_wrk(server, "/", seconds=seconds, connections=connections, script=_SCRIPT, env=env)


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
