"""What one row read, and one row written, costs through the whole stack, against others, in one run.

Rounds of the contenders are interleaved, so that what else the machine does meets all of them; one with
telemetry counts only when as many spans were received as requests were answered. All share one PostgreSQL.
"""

import argparse
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence
from contextlib import ExitStack

from contenders import CONTENDERS, HERE, Contender
from server import Round, Server, end, pinned
from starkeel_testing import running_postgres

Rounds = dict[tuple[str, str], list[Round]]


def main() -> None:
    """Run the rounds and print the ratios."""
    options = _options()
    chosen = [one for one in CONTENDERS if one.name in options.contenders]
    rounds: Rounds = {(one.name, what): [] for one in chosen for what in one.operations}
    alone: Rounds = {("ours", what): [] for what in ("write", "once")}
    with ExitStack() as stack:
        postgres = stack.enter_context(running_postgres())
        receiver, endpoint = _receiver()
        stack.callback(end, receiver)
        servers: dict[str, Server] = {}
        for one in chosen:
            # Ours is the first, and makes the table.
            servers[one.name] = Server(one, database=postgres.url, endpoint=endpoint)
            stack.callback(servers[one.name].close)
        for one in chosen:
            for what in one.operations:
                servers[one.name].load(what, 2, options.connections)
            _received(endpoint)
        for number in range(options.rounds):
            for what in ("read", "write", "once"):
                for one in chosen if number % 2 == 0 else chosen[::-1]:
                    if what in one.operations:
                        done = servers[one.name].load(what, options.seconds, options.connections)
                        _prove(one, done.requests, endpoint)
                        rounds[one.name, what].append(done)
                        _print(f"{number + 1:>3} {what:<5} {one.name:<13} {_told(done)}")
            for name, what in alone:
                alone[name, what].append(servers[name].load(what, 2, 1))
                _received(endpoint)
    _report(rounds, alone)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--connections", type=int, default=16)
    others = [one.name for one in CONTENDERS if one.name != "ours"]
    parser.add_argument("--against", nargs="*", default=others, choices=others)
    options = parser.parse_args()
    options.contenders = ["ours", *options.against]
    return options


def _receiver() -> tuple["subprocess.Popen[str]", str]:
    program = HERE.parent / "telemetry" / "receiver.py"
    process = subprocess.Popen([*pinned(1), sys.executable, str(program)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, f"http://127.0.0.1:{process.stdout.readline().strip()}"


def _received(endpoint: str) -> int:
    with urllib.request.urlopen(endpoint, timeout=120) as answer:
        return int(answer.read())


def _prove(one: Contender, requests: int, endpoint: str) -> None:
    """Requests that wrk gave up at the end may be served, too: one for each connection at most."""
    if not one.is_told:
        return
    spans = _received(endpoint)
    until = time.monotonic() + 30
    while spans < requests and time.monotonic() < until:
        time.sleep(0.5)
        spans += _received(endpoint)
    if not requests <= spans <= requests + 64:
        raise SystemExit(f"void: {one.name} answered {requests} requests and sent {spans} spans")


def _told(done: Round) -> str:
    return f"{done.per_s:>8.0f} requests/s {done.cpu_us:>7.1f} us of CPU each"


def _report(rounds: Rounds, alone: Rounds) -> None:
    for what in ("read", "write"):
        ours = rounds["ours", what]
        _print(f"\n{what}: ours uses {_spread([one.cpu_us for one in ours], 0)} us of CPU a request")
        for (name, other), theirs in rounds.items():
            if name != "ours" and other == what:
                pairs = list(zip(ours, theirs, strict=True))
                cpu = _spread([them.cpu_us / us.cpu_us for us, them in pairs])
                speed = _spread([us.per_s / them.per_s for us, them in pairs])
                _print(f"{what}: ours is {cpu} times {name} by CPU time, {speed} times by throughput")
    added = [
        once.cpu_us - write.cpu_us
        for write, once in zip(rounds["ours", "write"], rounds["ours", "once"], strict=True)
    ]
    waited = [
        (once.seconds / once.requests - write.seconds / write.requests) * 1000
        for write, once in zip(alone["ours", "write"], alone["ours", "once"], strict=True)
    ]
    _print(f"\nkey and event: add {_spread(added, 0)} us of CPU to a write")
    _print(f"key and event: add {_spread(waited)} ms to a write that is alone")


def _spread(values: Sequence[float], digits: int = 2) -> str:
    low, middle, high = statistics.quantiles(values, n=4) if len(values) > 1 else [*values] * 3
    return f"{middle:.{digits}f} (quartiles {low:.{digits}f} to {high:.{digits}f})"


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
