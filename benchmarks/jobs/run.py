"""Compare jobs with bare PgQueuer and Celery: enqueue, then execute in one process.

A job inserts a row, by SQLAlchemy in a transaction (`session`) or by one statement of a connection of its own
(`apart`), with the same handler and ten at a time in all contenders. Starkeel commits the row of `session`
together with the success of the job; the others record it afterwards, and may execute the job twice.

On a machine with other load, the CPU time of the process per job varies less than jobs per second. Starkeel's
includes a log line, a span and metrics for each job; the others have none.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from starkeel_testing import PostgresServer, running_postgres, running_redis

from ..load import Quartiles, interleaved, show
from ..stacks import installed_python

_CONTENDERS = Path(__file__).with_name("contenders")
_PGQUEUER = ("pgqueuer[asyncpg]==1.6.0", "uvloop", "sqlalchemy[asyncio]==2.1.*")
_CELERY = ("celery[redis]==5.5.3", "psycopg[binary]", "sqlalchemy==2.1.*")
_FIGURES = ("enqueue", "session", "apart", "session_cpu_us", "apart_cpu_us")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--jobs", type=int, default=2000)
    given = parser.parse_args()
    pythons = {
        "starkeel": sys.executable,
        "pgqueuer_bare": installed_python("pgqueuer", _PGQUEUER),
        "celery_redis": installed_python("celery", _CELERY),
    }
    found: dict[str, list[dict[str, float]]] = {name: [] for name in pythons}
    with running_postgres() as postgres, running_redis() as redis:
        for number in range(given.rounds):
            for name in interleaved(list(pythons), number):
                with PostgresServer(postgres.url).database() as url:
                    environ = {**os.environ, "BROKER": redis.url, "DATABASE": url}
                    found[name].append(_measured(pythons[name], name, url, given.jobs, environ))
                shown = ", ".join(f"{figure} {found[name][-1][figure]:.0f}" for figure in _FIGURES)
                show(f"{number + 1} {name}: {shown}")
    for other in ("pgqueuer_bare", "celery_redis"):
        for figure in _FIGURES:
            pairs = zip(found["starkeel"], found[other], strict=True)
            ratios = Quartiles.of(ours[figure] / theirs[figure] for ours, theirs in pairs)
            show(f"{figure}: {ratios:.2f} of {other}")


def _measured(python: str, name: str, url: str, jobs: int, environ: dict[str, str]) -> dict[str, float]:
    """Return jobs per second, and microseconds of CPU time per job, of one contender."""
    # A file, as the lines of its log are many.
    with tempfile.TemporaryFile("w+") as output:
        command = [python, str(_CONTENDERS / f"{name}.py"), url, str(jobs)]
        subprocess.run(command, check=True, stdout=output, env=environ)
        output.seek(0)
        figures: dict[str, float] = json.loads(output.read().splitlines()[-1])
        return figures


if __name__ == "__main__":
    main()
