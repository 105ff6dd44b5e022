"""Measure seatrial: the time and the peak memory of `check`, and of `run` with the manifests, on services.

Both services run as in production. The aims: `check` below 20 s, `run` below 4 minutes, memory below 200 MiB.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from tools.registry import ROOT
from tools.trial.fleet import running_fleet
from tools.trial.static_subjects import deployment
from tools.trial.subject import Subject, merged, subject_keys, toml

from ..load import show

_CHECK_S, _RUN_S, _MIB = 20.0, 240.0, 200.0


class Measurement(NamedTuple):
    """A run of seatrial.

    Attributes:
        seconds: From its start to its end.
        mib: Peak of its resident memory.
    """

    seconds: float
    mib: float


def main() -> int:
    """Run the benchmark; return 1 if an aim is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="runs of each (3)")
    given = parser.parse_args()
    is_met = True
    with tempfile.TemporaryDirectory() as directory, running_fleet("production") as subjects:
        folder = Path(directory)
        manifests = deployment(folder / "deployment").keys
        for subject in subjects:
            for command, keys, limit_s in (("check", {}, _CHECK_S), ("run", manifests, _RUN_S)):
                done = [_measure(command, subject, keys, folder) for _ in range(given.rounds)]
                seconds, mib = (max(values) for values in zip(*done, strict=True))
                middle = median(each.seconds for each in done)
                show(
                    f"{command:<5} {subject.name}: {middle:.1f} s, at most {seconds:.1f} of {limit_s:g} s,"
                    f" {mib:.0f} of {_MIB:g} MiB"
                )
                is_met = is_met and seconds <= limit_s and mib <= _MIB
    return 0 if is_met else 1


def _measure(command: str, subject: Subject, keys: Mapping[str, Any], folder: Path) -> Measurement:
    file = folder / "seatrial.toml"
    file.write_text(toml(merged(subject_keys(subject), keys)), "utf-8")
    arguments = [command, "--config", str(file), "--format", "json", "--output", str(folder / "report.json")]
    return _run([sys.executable, "-m", "seatrial", *arguments])


def _run(command: Sequence[str]) -> Measurement:
    began = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    # The peak is that of this process alone, unlike that of all children.
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in {0, 1}:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return Measurement(time.perf_counter() - began, usage.ru_maxrss / 1024)


if __name__ == "__main__":
    sys.exit(main())
