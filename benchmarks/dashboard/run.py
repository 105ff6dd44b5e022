"""Measure what the dashboard of `just dev` costs a service, and its own memory.

A request with a database query is sent to accounts, with the environment of `just dev`: once with the
dashboard, which receives its spans and polls it, and once without. Then a million spans are sent to a
dashboard; it fails if its memory exceeds the limit.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from argparse import Namespace
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil

from tools.workspace import HOST, Member, environment, fleet

from ..load import Quartiles, Round, compared, interleaved, options, run_wrk, show
from ..server_process import ServerProcess, pinned, stop
from .spans import send_spans

_PATH = "/.well-known/revocations"
_PORTS = {"off": (3110, 9110), "on": (3120, 9120)}
_MAX_BYTES = 150_000_000
_UNLIMITED = {"RATE_LIMIT_DISCOVERY": "10000/1 second", "LOG_LEVEL": "info"}


def main() -> None:
    """Run the benchmark."""
    parser = options(__doc__, connections=16)
    parser.add_argument("--spans", type=int, default=1_000_000, help="spans for the memory (1000000)")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        rounds = _overhead(Path(directory), given)
    added = compared(rounds["on"], rounds["off"], lambda on, off: on.cpu_us - off.cpu_us)
    share = compared(rounds["on"], rounds["off"], lambda on, off: on.cpu_us / off.cpu_us - 1)
    for name in _PORTS:
        show(f"{name:<4} {Quartiles.of(each.cpu_us for each in rounds[name]):.1f} us of CPU per request")
    show(f"added {added:.1f} us, {share:.1%}")
    _memory(given.spans)


def _overhead(directory: Path, given: Namespace) -> dict[str, list[Round]]:
    members = {name: fleet(port=port, metrics_port=admin)[0] for name, (port, admin) in _PORTS.items()}
    on = members["on"]
    with ExitStack() as stack:
        named = f"{on.name}={on.url},{on.metrics_url}"
        dashboard, _ = stack.enter_context(_dashboard("--service", named))
        added = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": dashboard,
            "OTEL_BSP_SCHEDULE_DELAY": "500",
            "LOG_FORMAT": "json",
        }
        variables = {"off": {"LOG_FORMAT": "pretty"}, "on": added}
        servers = {}
        for name, member in members.items():
            (directory / name).mkdir()
            servers[name] = _serve(member, directory / name, variables[name])
            stack.callback(servers[name].close)
            run_wrk(servers[name], _PATH, seconds=2, connections=given.connections)
        rounds: dict[str, list[Round]] = {name: [] for name in servers}
        for number in range(given.rounds):
            for name in interleaved(list(servers), number):
                done = run_wrk(servers[name], _PATH, seconds=given.seconds, connections=given.connections)
                rounds[name].append(done)
                show(f"{number + 1:>3} {name:<4} {done}")
        _verify(dashboard, sum(each.requests for each in rounds["on"]))
    return rounds


def _verify(dashboard: str, requests: int) -> None:
    """Check that the dashboard has received the spans of the last minute, and computes their rate."""
    with urllib.request.urlopen(f"{dashboard}/data/services", timeout=10) as response:
        (service,) = json.load(response)
    if not 0 < service["requests_per_second"] * 60 <= 2 * requests:
        raise SystemExit(f"void: {requests} requests, and the dashboard has {service}")


def _serve(member: Member, directory: Path, variables: dict[str, str]) -> ServerProcess:
    env = environment(member, [member], dict(os.environ) | variables | _UNLIMITED)
    return ServerProcess([sys.executable, "-m", member.name], cwd=directory, env=env)


@contextmanager
def _dashboard(*arguments: str) -> Iterator[tuple[str, psutil.Process]]:
    command = [*pinned(1), sys.executable, "-m", "starkeel_dashboard", "--port", "0", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        found = re.search(rf"http://{HOST}:\d+", process.stdout.readline())
        assert found is not None
        yield found[0], psutil.Process(process.pid)
    finally:
        stop(process)


def _memory(spans: int) -> None:
    with _dashboard("--records-per-second", "10000000") as (url, process):
        began, highest = time.monotonic(), 0
        for sent in send_spans(url, spans):
            highest = max(highest, process.memory_info().rss)
            if sent % 100_000 == 0:
                show(f"{sent:>9} spans {process.memory_info().rss / 1e6:>7.1f} MB")
        cpu = process.cpu_times()
        elapsed = time.monotonic() - began
        used_us = (cpu.user + cpu.system) / spans * 1e6
        show(
            f"highest {highest / 1e6:.1f} MB; {spans / elapsed:.0f} spans/s, {used_us:.1f} us of CPU per span"
        )
    if highest > _MAX_BYTES:
        raise SystemExit(f"the dashboard took more than {_MAX_BYTES / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
