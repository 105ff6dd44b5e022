"""Measure the time from the start of a process to its first response: bare Litestar, and Starkeel.

Interleaved rounds; the dependencies are imported from bytecode, as in an image.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from statistics import median
from urllib.error import URLError
from urllib.request import urlopen

from ..load import Quartiles, interleaved, show
from ..server_process import stop
from ..stacks import environment, granian
from ..telemetry.contender import HERE

_PATH = "/items/7"
_POLL_S = 0.002
_TIMEOUT_S = 60.0
_CONTENDERS = {
    "litestar_bare": granian("litestar_bare"),
    "starkeel": [sys.executable, str(HERE / "starkeel.py")],
}


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15, help="starts of each contender (15)")
    given = parser.parse_args()
    times: dict[str, list[float]] = {name: [] for name in _CONTENDERS}
    # The first writes bytecode.
    for number in range(given.rounds + 1):
        for name in interleaved(list(_CONTENDERS), number):
            seconds = _start(_CONTENDERS[name])
            if number:
                times[name].append(seconds)
                show(f"{number:3} {name:15} {seconds * 1e3:7.0f} ms")
    bare = times["litestar_bare"]
    for name, measured in times.items():
        ratio = Quartiles.of(mine / other for mine, other in zip(measured, bare, strict=True))
        show(f"{name}: {median(measured) * 1e3:.0f} ms, {ratio:.2f} of bare")


def _start(command: list[str]) -> float:
    """Return the seconds from the start of a process to its first response."""
    with tempfile.TemporaryDirectory() as directory:
        env = environment("") | {"PROMETHEUS_MULTIPROC_DIR": directory}
        url = f"http://127.0.0.1:{env['PORT']}{_PATH}"
        began = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=Path(HERE), env=env, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT
        )
        try:
            while time.perf_counter() - began < _TIMEOUT_S:
                with suppress(URLError, ConnectionError), urlopen(url, timeout=5) as response:
                    response.read()
                    return time.perf_counter() - began
                time.sleep(_POLL_S)
            raise SystemExit(f"void: {command} did not respond within {_TIMEOUT_S:.0f} s")
        finally:
            stop(process)


if __name__ == "__main__":
    main()
