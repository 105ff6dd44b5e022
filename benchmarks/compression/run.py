"""Measure what compression costs and saves, and what a 304 costs compared with its 200.

CPU time of the server per request; the loopback interface makes bytes cheaper than a network does.
"""

import sys
from pathlib import Path
from typing import NamedTuple
from urllib.request import Request, urlopen

from ..load import Quartiles, Round, compared, interleaved, options, run_wrk, show
from ..server_process import ServerProcess
from ..stacks import environment

_HERE = Path(__file__).parent
_CODINGS = ("identity", "zstd", "gzip", "br")
_COUNTS = (10, 100, 1000)
_TAGS = {"version": "a version's tag", "early": "`not_modified`", "body": "the tag of the body"}


class Case(NamedTuple):
    """A request that is measured."""

    path: str
    accept: str = "identity"
    is_known: bool = False


def main() -> None:
    """Run the benchmark."""
    given = options(__doc__, connections=8).parse_args()
    cases = [Case(f"/plain/{count}", coding) for count in _COUNTS for coding in _CODINGS]
    cases += [Case(f"/{tag}/100", is_known=is_known) for tag in _TAGS for is_known in (False, True)]
    cases += [Case("/version/100", "zstd", is_known) for is_known in (False, True)]
    env = environment("http://127.0.0.1:9") | {"COMPRESSION_CODINGS": "zstd,gzip,br"}
    server = ServerProcess([sys.executable, "-m", "sample"], cwd=_HERE, env=env)
    try:
        rounds: dict[Case, list[Round]] = {case: [] for case in cases}
        names = list(map(str, range(len(cases))))
        for number in range(given.rounds):
            for name in interleaved(names, number):
                case = cases[int(name)]
                rounds[case].append(_load(server, case, given.seconds, given.connections))
        sizes = {case: _response(server, case)[0] for case in cases if not case.is_known}
    finally:
        server.close()
    _report(rounds, sizes)


def _load(server: ServerProcess, case: Case, seconds: int, connections: int) -> Round:
    env = {"BENCH_ACCEPT": case.accept, "BENCH_TAG": _response(server, case)[1] if case.is_known else ""}
    script = _HERE / "requests.lua"
    return run_wrk(server, case.path, seconds=seconds, connections=connections, script=script, env=env)


def _response(server: ServerProcess, case: Case) -> tuple[int, str]:
    """Return the size of a response as it is sent, and its tag."""
    request = Request(server.url + case.path, headers={"Accept-Encoding": case.accept})
    with urlopen(request) as response:
        return len(response.read()), response.headers["ETag"] or ""


def _report(rounds: dict[Case, list[Round]], sizes: dict[Case, int]) -> None:
    cpu_head = f"{'us of CPU per request':>40} {'added':>8}"
    show(f"{'body':>10} {'coding':>9} {'bytes':>9} {'of identity':>12} {cpu_head}")
    for count in _COUNTS:
        plain = Case(f"/plain/{count}")
        for coding in _CODINGS:
            case = Case(f"/plain/{count}", coding)
            cpu = Quartiles.of(each.cpu_us for each in rounds[case])
            added = compared(rounds[case], rounds[plain], lambda first, other: first.cpu_us - other.cpu_us)
            share = sizes[case] / sizes[plain]
            show(
                f"{sizes[plain]:>10,} {coding:>9} {sizes[case]:>9,} {share:>12.2f}"
                f" {format(cpu, '.0f'):>40} {added.median:>8.0f}"
            )
    show("")
    for tag, accept in (*((tag, "identity") for tag in _TAGS), ("version", "zstd")):
        full, known = (Case(f"/{tag}/100", accept, is_known) for is_known in (False, True))
        ratio = compared(rounds[known], rounds[full], lambda first, other: first.cpu_us / other.cpu_us)
        show(f"304 by {_TAGS[tag]}, {accept}: {ratio:.2f} of its 200 by CPU time, 0 of {sizes[full]:,} bytes")


if __name__ == "__main__":
    main()
