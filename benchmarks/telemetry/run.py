"""What telemetry costs: CPU time and throughput of the same handler, bare, with all of it, and with others'.

Rounds of the contenders are interleaved, so that what else the machine does meets all of them. A round counts
only when as many spans were received as requests were answered. `--memory` asks one contender a million times
instead, and looks at what memory it takes.
"""

import argparse
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from contenders import CONTENDERS, HERE, Server, end, pinned
from plot import plot

SETTLES_S = 1.0
"""Seconds after a round in which what was asked and not told yet is told."""
MOST_GROWTH = 0.05


class Round(NamedTuple):
    """What one contender did."""

    requests: int
    seconds: float
    cpu_s: float

    @property
    def each_us(self) -> float:
        """CPU time of a request."""
        return self.cpu_s / self.requests * 1e6

    @property
    def per_s(self) -> float:
        """Requests in a second."""
        return self.requests / self.seconds


Rounds = dict[str, list[Round]]


def main() -> None:
    """Run the rounds and print the ratios, or look at the memory."""
    options = _options()
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        receiver, endpoint = _receiver()
        stack.callback(end, receiver)
        if options.memory:
            server = Server(options.contenders[0], endpoint, directory)
            stack.callback(server.close)
            _watch_memory(server, endpoint, options)
            return
        servers = {}
        for name in options.contenders:
            servers[name] = server = Server(name, endpoint, directory)
            stack.callback(server.close)
            _load(server, 2, options.connections)
            _received(endpoint)
        rounds = _rounds(servers, endpoint, options)
    _report(rounds)
    if options.plot:
        plot(options.plot, {CONTENDERS[name].what: _spread(done, "each_us") for name, done in rounds.items()})


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--contenders", nargs="+", default=list(CONTENDERS), choices=list(CONTENDERS))
    parser.add_argument("--plot", type=Path, help="write a picture (SVG) of the CPU times there")
    parser.add_argument("--memory", type=int, metavar="REQUESTS", help="ask the first contender so often")
    return parser.parse_args()


def _rounds(servers: dict[str, Server], endpoint: str, options: argparse.Namespace) -> Rounds:
    rounds: Rounds = {name: [] for name in servers}
    for number in range(options.rounds):
        names = list(servers)
        # Who goes first takes turns.
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            done = _load(servers[name], options.seconds, options.connections)
            if CONTENDERS[name].tells:
                _prove(name, done.requests, endpoint, options.connections)
            rounds[name].append(done)
            _print(
                f"{number + 1:>3} {name:<8} {done.per_s:>8.0f} requests/s {done.each_us:>8.1f} us of CPU each"
            )
    return rounds


def _load(server: Server, seconds: int, connections: int) -> Round:
    """Ask as fast as it answers, by wrk on the other core."""
    before, began = server.cpu_s, time.monotonic()
    command = [*pinned(1), "wrk", "-t1", "--timeout", "30s", f"-c{connections}", f"-d{seconds}s", server.url]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = re.search(r"(\d+) requests in", text)
    if found is None or "Non-2xx" in text or "Socket errors" in text:
        raise SystemExit(f"requests failed:\n{text}")
    elapsed = time.monotonic() - began
    # It is part of the cost.
    time.sleep(SETTLES_S)
    return Round(int(found[1]), elapsed, server.cpu_s - before)


def _watch_memory(server: Server, endpoint: str, options: argparse.Namespace) -> None:
    """See that a million requests take no more memory than the first tenth of them did."""
    asked, settled = 0, 0
    while asked < options.memory:
        asked += _load(server, options.seconds, options.connections).requests
        _received(endpoint)
        settled = settled or (server.rss_bytes if asked >= options.memory / 10 else 0)
        _print(f"{asked:>9} requests {server.rss_bytes / 2**20:>7.1f} MiB")
    growth = server.rss_bytes / settled - 1
    _print(f"grew by {growth:.1%} since the first tenth")
    if growth > MOST_GROWTH:
        raise SystemExit(f"memory is not steady: more than {MOST_GROWTH:.0%}")


def _receiver() -> tuple["subprocess.Popen[str]", str]:
    command = [*pinned(1), sys.executable, str(HERE / "receiver.py")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, f"http://127.0.0.1:{process.stdout.readline().strip()}"


def _received(endpoint: str) -> int:
    with urllib.request.urlopen(endpoint, timeout=120) as answer:
        return int(answer.read())


def _prove(name: str, requests: int, endpoint: str, connections: int) -> None:
    """Requests that wrk gave up at the end may be served, too: one for each connection at most, of this round
    and of the one before, whose spans may come late."""
    spans = _received(endpoint)
    until = time.monotonic() + 30
    while spans < requests and time.monotonic() < until:
        time.sleep(0.5)
        spans += _received(endpoint)
    if not requests <= spans <= requests + 2 * connections:
        raise SystemExit(f"void: {name} answered {requests} requests and sent {spans} spans")


def _report(rounds: Rounds) -> None:
    for name, done in rounds.items():
        _print(f"\n{name}: {CONTENDERS[name].what}, {sum(one.requests for one in done)} requests")
        _print(f"  {_told(_spread(done, 'each_us'), 1)} us of CPU a request")
        if name == "bare" or "bare" not in rounds:
            continue
        pairs = list(zip(rounds["bare"], done, strict=True))
        _print(f"  keeps {_told(_quartiles([b.each_us / o.each_us for b, o in pairs]))} of bare by CPU time")
        _print(f"  keeps {_told(_quartiles([o.per_s / b.per_s for b, o in pairs]))} of bare by throughput")
        _print(
            f"  adds {_told(_quartiles([o.each_us - b.each_us for b, o in pairs]), 1)} us of CPU a request"
        )
    for name in (name for name in ("stock", "fastapi", "fastify") if name in rounds and "full" in rounds):
        pairs = list(zip(rounds["full"], rounds[name], strict=True))
        cpu = _told(_quartiles([o.each_us / f.each_us for f, o in pairs]), 2)
        speed = _told(_quartiles([f.per_s / o.per_s for f, o in pairs]), 2)
        _print(f"\nfull against {name}: {cpu} times by CPU time, {speed} times by throughput")


Quartiles = tuple[float, float, float]


def _spread(done: list[Round], what: str) -> Quartiles:
    return _quartiles([getattr(one, what) for one in done])


def _quartiles(values: list[float]) -> Quartiles:
    low, middle, high = statistics.quantiles(values, n=4) if len(values) > 1 else values * 3
    return low, middle, high


def _told(quartiles: Quartiles, digits: int = 3) -> str:
    low, middle, high = quartiles
    return f"{middle:.{digits}f} (quartiles {low:.{digits}f} to {high:.{digits}f})"


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
