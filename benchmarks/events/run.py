"""Measure the time from the commit of an event to that of its handler, in another process and database."""

import argparse
import asyncio
import json
import logging
import sys
import time
from asyncio.subprocess import PIPE
from collections import defaultdict

import psutil
import structlog
import uvloop
from starkeel_testing import PostgresServer, running_postgres, running_redis

from ..load import show
from .sample import MADE, Made, Sample

_KEYS = 100
_WARM_UP_S = 2.0
_REST_S = 120.0
"""Seconds after which events that are not handled are an error."""


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=500, help="events a second (500)")
    parser.add_argument("--seconds", type=float, default=20, help="duration without the warm-up (20)")
    parser.add_argument("--broker", help="URL of a broker, instead of an own Redis")
    given = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    with running_postgres() as postgres, running_redis() as redis:
        server = PostgresServer(postgres.url)
        with server.database() as publishing, server.database() as consuming:
            committed, handled, seconds, cpu = uvloop.run(
                _measure(publishing, consuming, given.broker or redis.url, given.rate, given.seconds)
            )
    first = round(given.rate * _WARM_UP_S)
    times_ms = sorted((handled[number] - committed[number]) * 1000 for number in committed if number >= first)
    load = psutil.getloadavg()[0]
    show(f"{len(times_ms)} events, {len(times_ms) / seconds:.0f} a second were committed; load {load:.1f}")
    for name, cpu_s in sorted(cpu.items()):
        show(f"{name}: {cpu_s / len(committed) * 1000:.2f} ms of CPU an event")
    for name, share in (("p50", 0.5), ("p99", 0.99), ("max", 1.0)):
        show(f"{name} {times_ms[min(len(times_ms) - 1, int(len(times_ms) * share))]:.1f} ms")


async def _measure(
    publishing: str, consuming: str, broker: str, rate: float, seconds: float
) -> tuple[dict[int, float], dict[int, float], float, dict[str, float]]:
    """Return when each event was committed and handled, and the seconds of publishing without the warm-up."""
    consumer = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.events.consumer", consuming, broker),
        stdin=PIPE,
        stdout=PIPE,
        limit=2**24,
    )
    assert consumer.stdin is not None
    assert consumer.stdout is not None
    try:
        await consumer.stdout.readline()
        sample = Sample(publishing, broker)
        await sample.create_tables()
        async with sample.app.lifespan():
            before = _cpu_s()
            committed = await _publish(sample, rate, seconds)
            last = max(committed.values())
            first = min(committed[number] for number in committed if number >= rate * _WARM_UP_S)
            async with asyncio.timeout(_REST_S):
                consumer.stdin.write(f"{len(committed)}\n".encode())
                output = await consumer.stdout.readline()
                after = _cpu_s()
                consumer.stdin.close()
                await consumer.wait()
    finally:
        if consumer.returncode is None:
            consumer.kill()
        await consumer.wait()
    handled = {int(number): at for number, at in json.loads(output).items()}
    return committed, handled, last - first, {part: after[part] - before.get(part, 0.0) for part in after}


def _cpu_s() -> dict[str, float]:
    """Return the CPU time of each part until now."""
    found: dict[str, float] = defaultdict(float)
    this = psutil.Process()
    for process in (this, *this.children(recursive=True)):
        try:
            times = process.cpu_times()
            name = "publisher" if process == this else _part(process.cmdline())
        except psutil.NoSuchProcess:
            continue
        found[name] += times.user + times.system
    return found


def _part(command: list[str]) -> str:
    line = " ".join(command)
    if "benchmarks.events.consumer" in line:
        return "consumer"
    if "redis" in line:
        return "Redis"
    return "PostgreSQL" if "postgres" in line else "others"


async def _publish(sample: Sample, rate: float, seconds: float) -> dict[int, float]:
    """Publish each event in a unit of work of its own, at times that do not depend on the others."""
    committed: dict[int, float] = {}

    async def publish(number: int) -> None:
        async with sample.database.session() as session:
            await sample.messaging.publish(session, MADE, Made(number), key=f"key {number % _KEYS}")
        committed[number] = time.time()

    loop = asyncio.get_running_loop()
    began = loop.time()
    async with asyncio.TaskGroup() as tasks:
        for number in range(round(rate * (_WARM_UP_S + seconds))):
            await asyncio.sleep(max(0.0, began + number / rate - loop.time()))
            tasks.create_task(publish(number))
    return committed


if __name__ == "__main__":
    main()
