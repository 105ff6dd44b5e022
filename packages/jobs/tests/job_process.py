"""A process that executes jobs until it is stopped; run with the URL of its database."""

import asyncio
import signal
import sys

import structlog
from sqlalchemy import text
from starkeel_config import Backoff
from starkeel_jobs import JobContext, job

from packages.jobs.tests.jobs_shop import shop


@job(timeout_s=30.0)
async def slowly_note(context: JobContext, *, what: str, pause_s: float) -> None:
    await context.session.execute(
        text("INSERT INTO effects VALUES (:job_id, :note)"), {"job_id": context.job_id, "note": what}
    )
    await asyncio.sleep(pause_s)


@job(attempts=8, backoff=Backoff(base_s=0.05, cap_s=0.2, jitter=0.5))
async def ordered_note(context: JobContext, *, what: str, failures: int) -> None:
    await asyncio.sleep(0.1)
    if context.attempt <= failures:
        raise ValueError
    await context.session.execute(
        text("INSERT INTO effects VALUES (:job_id, :note)"), {"job_id": context.job_id, "note": what}
    )


@job(attempts=2, backoff=Backoff(base_s=60.0, cap_s=60.0, jitter=0.1))
async def poison_note(_: JobContext, *, what: str) -> None:
    if what == "bad":
        raise ValueError


async def main(url: str, grace_s: float) -> None:
    # The test reads only the first line of the standard output.
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    async with shop(url, [slowly_note, ordered_note, poison_note], heartbeat_s=1.0, concurrency=8) as running:
        sys.stdout.write("running\n")
        sys.stdout.flush()
        await stopped.wait()
        ends_at = loop.time() + grace_s
        await running.jobs.drain(lambda: max(0.0, ends_at - loop.time()))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], float(sys.argv[2])))
