"""Rounds of load by wrk, and their figures."""

import os
import re
import statistics
import subprocess
import sys
import time
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from .server_process import ServerProcess, pinned

_SETTLE_S = 1.0
"""Seconds after the load in which the server still logs and exports; their CPU time counts."""


class Round(NamedTuple):
    """One round of load on one server."""

    requests: int
    seconds: float
    cpu_s: float

    @property
    def cpu_us(self) -> float:
        """CPU time per request, in microseconds."""
        return self.cpu_s / self.requests * 1e6

    @property
    def per_s(self) -> float:
        """Requests per second."""
        return self.requests / self.seconds

    def __str__(self) -> str:
        return f"{self.per_s:>8.0f} requests/s {self.cpu_us:>8.1f} us of CPU per request"


class Quartiles(NamedTuple):
    """Median of the rounds, with the lower and the upper quartile."""

    low: float
    median: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> "Quartiles":
        found = list(values)
        return cls(*(statistics.quantiles(found, n=4) if len(found) > 1 else found * 3))

    def __format__(self, spec: str) -> str:
        low, median, high = (format(value, spec) for value in self)
        return f"{median} (quartiles {low} to {high})"


def compared(first: list[Round], second: list[Round], figure: Callable[[Round, Round], float]) -> Quartiles:
    """Return the quartiles of a figure of rounds that ran next to each other."""
    return Quartiles.of(figure(*pair) for pair in zip(first, second, strict=True))


def interleaved(names: Sequence[str], number: int) -> Sequence[str]:
    """Return the contenders in the order of a round, which each starts with another one.

    Other load on the machine affects all of them alike.
    """
    first = number % len(names)
    return [*names[first:], *names[:first]]


def options(description: str | None, *, connections: int) -> ArgumentParser:
    """Return a parser with the options of a round; `connections` is a default."""
    parser = ArgumentParser(description=description, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--connections", type=int, default=connections)
    return parser


def show(text: str) -> None:
    """Write a line to stdout at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def run_wrk(
    server: ServerProcess,
    path: str,
    *,
    seconds: int,
    connections: int,
    script: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> Round:
    """Send requests for some seconds, each connection one after the other.

    Raises:
        SystemExit: A request failed.
    """
    command = [*pinned(1), "wrk", "-t1", "--timeout", "30s", f"-c{connections}", f"-d{seconds}s"]
    command += [] if script is None else ["-s", str(script)]
    environ = {"PATH": os.environ["PATH"], **(env or {})}
    cpu_before, began = server.cpu_s, time.monotonic()
    text = subprocess.run(
        [*command, server.url + path], check=True, capture_output=True, text=True, env=environ
    ).stdout
    found = re.search(r"(\d+) requests in", text)
    if found is None or "Non-2xx" in text or "Socket errors" in text:
        raise SystemExit(f"requests failed:\n{text}")
    elapsed = time.monotonic() - began
    time.sleep(_SETTLE_S)
    return Round(int(found[1]), elapsed, server.cpu_s - cpu_before)
