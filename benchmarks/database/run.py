"""Measure what reading one row and writing one row costs through the whole stack, on Starkeel and on others.

A round with telemetry counts only if the receiver got one server span per request. All contenders share one
PostgreSQL.
"""

import time
from argparse import Namespace
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

from starkeel_testing import running_postgres

from ..load import Quartiles, Round, compared, interleaved, options, run_wrk, show
from ..server_process import ServerProcess
from ..span_receiver import SpanReceiver
from .contender import CONTENDERS

Rounds = Mapping[tuple[str, str], list[Round]]
"""Rounds by contender and operation."""

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
    for line in _report(rounds, single_client):
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


def _report(rounds: Rounds, single_client: Rounds) -> Iterator[str]:
    for operation in ("read", "write"):
        own = rounds["starkeel", operation]
        yield f"\n{operation}: starkeel uses {Quartiles.of(each.cpu_us for each in own):.0f} us of CPU"
        for (name, other), done in rounds.items():
            if name != "starkeel" and other == operation:
                cpu = compared(own, done, lambda s, o: o.cpu_us / s.cpu_us)
                speed = compared(own, done, lambda s, o: s.per_s / o.per_s)
                yield f"{operation}: {cpu:.2f} times {name} by CPU time, {speed:.2f} times by throughput"
    write, once = (rounds["starkeel", operation] for operation in ("write", "write_once"))
    added = compared(write, once, lambda w, o: o.cpu_us - w.cpu_us)
    yield f"\nidempotency key and event: {added:.0f} us of CPU more per write"
    write, once = (single_client["starkeel", operation] for operation in ("write", "write_once"))
    waited = compared(write, once, lambda w, o: (1 / o.per_s - 1 / w.per_s) * 1000)
    yield f"idempotency key and event: {waited:.2f} ms more for a single client"


if __name__ == "__main__":
    main()
