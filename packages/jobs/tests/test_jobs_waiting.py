"""Waiting for jobs with the testing kit, on both databases."""

import asyncio

import pytest
from starkeel_jobs import JobContext, job
from starkeel_testing import wait_for_jobs

from .jobs_shop import Open

pytestmark = pytest.mark.timeout(120)


@job()
async def succeed(context: JobContext) -> None: ...


@job(attempts=1)
async def fail(context: JobContext) -> None:
    raise RuntimeError


async def test_succeeded_jobs_are_returned(open_shop: Open, database_url: str) -> None:
    async with open_shop(database_url, [succeed]) as running:
        enqueued = [await running.enqueue(succeed) for _ in range(2)]
        assert await asyncio.to_thread(wait_for_jobs, database_url, "succeed", count=2) == enqueued


async def test_a_failed_job_ends_the_wait(open_shop: Open, database_url: str) -> None:
    async with open_shop(database_url, [fail]) as running:
        job_id = await running.enqueue(fail)
        with pytest.raises(AssertionError, match=rf"job {job_id} \(fail\) has failed: .*RuntimeError"):
            await asyncio.to_thread(wait_for_jobs, database_url, "fail")


async def test_the_error_states_what_there_is(open_shop: Open, database_url: str) -> None:
    async with open_shop(database_url, [succeed], works=False) as running:
        job_id = await running.enqueue(succeed)
        with pytest.raises(AssertionError, match=f"there are: {job_id} queued"):
            await asyncio.to_thread(wait_for_jobs, database_url, "succeed", timeout_s=0.1)
