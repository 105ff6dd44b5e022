"""Jobs whose processes are killed or stopped."""

import asyncio
import os
import signal
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median

import pytest
from starkeel_jobs import JobRequest

from .job_process import ordered_note, poison_note, slowly_note
from .jobs_shop import Shop, shop

pytestmark = [pytest.mark.needs_postgres, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[3]


async def start(url: str, *, grace_s: float = 0.0) -> Process:
    """Start a process that executes jobs, and wait until it does."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "packages.jobs.tests.job_process", url, str(grace_s),
        cwd=ROOT, env={**os.environ, "PYTHONUNBUFFERED": "1"}, stdout=PIPE, stderr=DEVNULL,
    )  # fmt: skip
    assert process.stdout is not None
    async with asyncio.timeout(60):
        while (line := await process.stdout.readline()) != b"running\n":
            assert line, "the process has ended"
    return process


@asynccontextmanager
async def client(url: str) -> AsyncGenerator[Shop]:
    """Run an application that only enqueues."""
    async with shop(url, [slowly_note, ordered_note, poison_note], works=False) as running:
        yield running


async def until_begun(running: Shop, process: Process) -> None:
    """Wait until a process executes a job."""
    begun = f"SELECT 1 FROM jobs WHERE state = 'running' AND worker LIKE '%-{process.pid}-%'"
    async with asyncio.timeout(60):
        while not await running.execute(begun):  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.01)


async def end(process: Process) -> None:
    if process.returncode is None:
        process.kill()
    await process.wait()


async def test_jobs_of_killed_processes_take_effect_exactly_once(postgres_url: str) -> None:
    kills, each = 5, 60
    async with client(postgres_url) as running:
        workers = [await start(postgres_url) for _ in range(2)]
        try:
            for kill in range(kills):
                async with running.database.session() as session:
                    for number in range(each):
                        what = str(kill * each + number)
                        await running.jobs.enqueue(session, slowly_note, what=what, pause_s=0.1)
                victim = workers[kill % 2]
                await until_begun(running, victim)
                victim.kill()
                await victim.wait()
                workers[kill % 2] = await start(postgres_url)
            await running.until_done()
        finally:
            for worker in workers:
                await end(worker)
        notes = Counter(row.note for row in await running.execute("SELECT note FROM effects"))
        records = await running.jobs.records(limit=kills * each)
    assert notes == Counter(str(number) for number in range(kills * each))
    assert {record.state for record in records} == {"succeeded"}
    # Those that were killed have begun again.
    assert {record.attempts for record in records} >= {1, 2}


async def test_a_stopped_process_loses_and_doubles_nothing(postgres_url: str) -> None:
    async with client(postgres_url) as running:
        first = await start(postgres_url, grace_s=0.5)
        try:
            async with running.database.session() as session:
                for number in range(40):
                    # Some do not finish in the grace period.
                    pause_s = 5.0 if number % 4 == 0 else 0.05
                    await running.jobs.enqueue(session, slowly_note, what=str(number), pause_s=pause_s)
            await until_begun(running, first)
            first.send_signal(signal.SIGTERM)
            async with asyncio.timeout(30):
                assert await first.wait() == 0
            # Given back at once, not when its process is noticed to be dead.
            assert await running.jobs.records(state="running") == []
            second = await start(postgres_url)
        finally:
            await end(first)
        try:
            await running.until_done()
        finally:
            await end(second)
        notes = Counter(row.note for row in await running.execute("SELECT note FROM effects"))
        attempts = {record.attempts for record in await running.jobs.records(limit=40)}
    assert notes == Counter(str(number) for number in range(40))
    assert attempts == {1}


async def test_a_frozen_process_does_not_repeat_what_another_has_done(postgres_url: str) -> None:
    async with client(postgres_url) as running:
        frozen = await start(postgres_url)
        other = None
        try:
            await running.enqueue(slowly_note, what="once", pause_s=1.0)
            await until_begun(running, frozen)
            frozen.send_signal(signal.SIGSTOP)
            other = await start(postgres_url)
            await running.until_done()
            [record] = await running.jobs.records()
            assert record.attempts == 2
            frozen.send_signal(signal.SIGCONT)
            frozen.send_signal(signal.SIGTERM)
            async with asyncio.timeout(30):
                assert await frozen.wait() == 0
        finally:
            await end(frozen)
            if other is not None:
                await end(other)
        assert [row.note for row in await running.execute("SELECT note FROM effects")] == ["once"]


async def test_a_process_is_woken_by_a_job_of_another_one(postgres_url: str) -> None:
    async with client(postgres_url) as running:
        worker = await start(postgres_url)
        try:
            await until_listening(running)
            waited = [await _enqueue_and_wait(running, str(number)) for number in range(10)]
            # Also on another connection, after the first one is lost.
            await running.execute(f"SELECT pg_terminate_backend(pid) FROM ({LISTENING}) AS listening")
            await until_listening(running)
            waited += [await _enqueue_and_wait(running, str(number)) for number in range(10)]
        finally:
            await end(worker)
    # Polling alone would find a job after half a second.
    assert median(waited) < 0.25


LISTENING = "SELECT pid FROM pg_stat_activity WHERE query ILIKE 'LISTEN%' AND datname = current_database()"


async def until_listening(running: Shop) -> None:
    async with asyncio.timeout(30):
        while not await running.execute(LISTENING):  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.01)


async def _enqueue_and_wait(running: Shop, what: str) -> float:
    """Return the seconds between the commits of a job and of its effects."""
    job_id = await running.enqueue(slowly_note, what=what, pause_s=0.0)
    began = time.monotonic()
    async with asyncio.timeout(30):
        while not await running.execute(f"SELECT 1 FROM effects WHERE job_id = {job_id}"):  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    return time.monotonic() - began


async def test_the_order_within_a_key_is_kept_among_processes(postgres_url: str) -> None:
    keys, each = 20, 15
    async with client(postgres_url) as running:
        workers = [await start(postgres_url) for _ in range(4)]
        try:
            async with running.database.session() as session:
                await running.jobs.enqueue_all(
                    session,
                    [
                        JobRequest(
                            ordered_note.with_options(ordering_key=f"key {key}"),
                            # One of them fails at first, two always.
                            {
                                "what": f"{key}:{number}",
                                "failures": {(3, 4): 2, (5, 0): 99, (7, 7): 99}.get((key, number), 0),
                            },
                        )
                        for number in range(each)
                        for key in range(keys)
                    ],
                )
            for victim in workers[:2]:
                await until_begun(running, victim)
                victim.kill()
            await running.until_done()
        finally:
            for worker in workers:
                await end(worker)
        in_order = "SELECT note FROM effects JOIN jobs ON id = job_id ORDER BY finished_at"
        ended = [row.note for row in await running.execute(in_order)]
        failed = [record for record in await running.jobs.records(limit=999) if record.state == "failed"]
    order: dict[str, list[int]] = {}
    for note in ended:
        key, number = note.split(":")
        order.setdefault(key, []).append(int(number))
    expected = {str(key): list(range(each)) for key in range(keys)}
    expected["5"].remove(0)
    expected["7"].remove(7)
    assert order == expected
    assert len(failed) == 2


async def test_a_job_that_fails_holds_back_only_its_key(postgres_url: str) -> None:
    async with client(postgres_url) as running:
        worker = await start(postgres_url)
        try:
            async with running.database.session() as session:
                requests = [
                    JobRequest(poison_note.with_options(ordering_key="bad"), {"what": "bad"}),
                    JobRequest(poison_note.with_options(ordering_key="bad"), {"what": "after bad"}),
                ]
                requests += [
                    JobRequest(poison_note.with_options(ordering_key=str(number % 50)), {"what": str(number)})
                    for number in range(1000)
                ]
                await running.jobs.enqueue_all(session, requests)
            async with asyncio.timeout(120):
                while await running.execute(  # noqa: ASYNC110 - another process
                    "SELECT 1 FROM jobs WHERE ordering_key <> 'bad' AND state <> 'succeeded' LIMIT 1"
                ):
                    await asyncio.sleep(0.02)
            # Its pause of a minute is not over.
            states = await running.execute("SELECT state FROM jobs WHERE ordering_key = 'bad' ORDER BY id")
            assert [row.state for row in states] == ["queued", "queued"]
            await running.execute("UPDATE jobs SET due_at = now() WHERE ordering_key = 'bad'")
            await running.until_done()
            states = await running.execute("SELECT state FROM jobs WHERE ordering_key = 'bad' ORDER BY id")
            assert [row.state for row in states] == ["failed", "succeeded"]
        finally:
            await end(worker)
