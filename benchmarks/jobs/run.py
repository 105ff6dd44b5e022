"""Compare jobs with bare PgQueuer and Celery: enqueue, then execute in one process.

A job inserts a row. Starkeel executes it twice: in its unit of work, which commits the row together with the
success of the job (`execute`), and by a connection of its own, as the others do (`execute_apart`).
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

from starkeel_testing import PostgresServer, running_postgres, running_redis

from ..load import Quartiles, interleaved, show
from ..stacks import installed_python

_CONTENDERS = Path(__file__).with_name("contenders")
_PGQUEUER = ("pgqueuer[asyncpg]==1.6.0", "uvloop")
_CELERY = ("celery[redis]==5.5.3", "psycopg[binary]")
_RATIOS = (
    ("enqueue", "pgqueuer_bare", "enqueue"),
    ("execute", "pgqueuer_bare", "execute"),
    ("execute_apart", "pgqueuer_bare", "execute"),
    ("enqueue", "celery_redis", "enqueue"),
    ("execute", "celery_redis", "execute"),
    ("execute_apart", "celery_redis", "execute"),
)
"""Figure of Starkeel, the other contender, and its figure."""


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--jobs", type=int, default=2000)
    given = parser.parse_args()
    pythons = {
        "starkeel": sys.executable,
        "pgqueuer_bare": installed_python("pgqueuer", _PGQUEUER),
        "celery_redis": installed_python("celery", _CELERY),
    }
    rates: dict[str, list[dict[str, float]]] = {name: [] for name in pythons}
    with running_postgres() as postgres, running_redis() as redis:
        for number in range(given.rounds):
            for name in interleaved(list(pythons), number):
                with PostgresServer(postgres.url).database() as url:
                    measured = subprocess.run(
                        [pythons[name], str(_CONTENDERS / f"{name}.py"), url, str(given.jobs)],
                        check=True,
                        stdout=subprocess.PIPE,
                        env={**os.environ, "BROKER": redis.url, "DATABASE": url},
                    )
                rates[name].append(json.loads(measured.stdout.splitlines()[-1]))
                shown = ", ".join(f"{figure} {rate:.0f}/s" for figure, rate in rates[name][-1].items())
                show(f"{number + 1} {name}: {shown}")
    for figure, other, its in _RATIOS:
        pairs = zip(rates["starkeel"], rates[other], strict=True)
        ratios = Quartiles.of(ours[figure] / theirs[its] for ours, theirs in pairs)
        show(f"{figure}: {ratios:.2f} of {other}")


if __name__ == "__main__":
    main()
