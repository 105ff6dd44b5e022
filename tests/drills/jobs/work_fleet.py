"""A process that enqueues and publishes, and processes that execute jobs and events, on one database."""

import os
import signal
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import psutil
from starkeel_testing import Service, running, wait_until

from ...support.postgres import value

HEARTBEAT_S = 2.0
_ENVIRON = {
    "PYTHONPATH": str(Path(__file__).parent),
    "JOBS_HEARTBEAT_SECONDS": str(HEARTBEAT_S),
    "JOBS_CONCURRENCY": "8",
    "DB_MAX_CONNECTIONS": "12",
    "DB_MIN_CONNECTIONS": "1",
    "CONSUMER_LEASE_SECONDS": "3",
}


class Handled(NamedTuple):
    """The effects of numbered events, of which there are `count`."""

    effects: int
    lost: int
    doubled: int
    out_of_order: int


class Worker:
    """One instance that executes jobs: a main process and its worker process."""

    def __init__(self, url: str, env: dict[str, str]) -> None:
        self._stack = ExitStack()
        variables = {**_ENVIRON, "DATABASE_URL": url, "RUN_WORKER": "true", **env}
        self.service: Service = self._stack.enter_context(running("work_sample", variables))

    @property
    def pids(self) -> set[int]:
        """Ids of its processes."""
        main = psutil.Process(self.service.process.pid)
        return {main.pid, *(child.pid for child in main.children(recursive=True))}

    def kill(self) -> None:
        """Kill all of its processes at once, as when its machine is lost."""
        os.killpg(self.service.process.pid, signal.SIGKILL)
        self.service.wait()

    def stop(self) -> None:
        """End it, in any state; raise if it does not end cleanly."""
        self._stack.close()


class WorkFleet:
    """Processes on one database.

    Args:
        url: URL of the database.
        web: The process that enqueues.
        env: More variables of the others.
    """

    def __init__(self, url: str, web: Service, env: Mapping[str, str]) -> None:
        self.url = url
        self.web = web
        self._env = env
        self.workers: list[Worker] = []

    def start_worker(self, **env: str) -> Worker:
        """Start one more instance."""
        worker = Worker(self.url, {**self._env, **env})
        self.workers.append(worker)
        return worker

    def remove(self, worker: Worker) -> None:
        """Stop an instance, unless it was killed, and forget it."""
        self.workers.remove(worker)
        worker.stop()

    def enqueue(
        self, count: int, *, first: int = 0, pause_s: float = 0.02, attempts: int = 25, poisons: int = 0
    ) -> None:
        """Enqueue numbered jobs in one unit of work, by a request."""
        query = {"first": first, "count": count, "pause_s": pause_s, "attempts": attempts, "poisons": poisons}
        response = self.web.client.post("/notes", params=query)
        assert response.status_code == 201, response.text

    def publish(self, count: int, *, first: int) -> None:
        """Publish numbered events in one unit of work, by a request."""
        response = self.web.client.post("/events", params={"first": first, "count": count})
        assert response.status_code == 201, response.text

    def until_handled(self, count: int, *, timeout_s: float = 90.0) -> Handled:
        """Wait until there are as many effects of events, and no event that is handled or waits."""
        wait_until(lambda: self._handled() >= count, timeout_s=timeout_s, what=lambda: self._states())
        self.until_done("hear", timeout_s=timeout_s)
        query = "SELECT coalesce(array_agg(ROW(key, number)::text ORDER BY id), '{}') FROM event_effects"
        rows = [row.strip("()").rpartition(",") for row in value(self.url, query)]
        numbers = Counter(int(number) for _, _, number in rows)
        of_key: dict[str, list[int]] = {}
        for key, _, number in rows:
            of_key.setdefault(key, []).append(int(number))
        return Handled(
            len(rows),
            lost=len(set(range(count)) - set(numbers)),
            doubled=numbers.total() - len(numbers),
            out_of_order=sum(first > second for each in of_key.values() for first, second in pairwise(each)),
        )

    def _handled(self) -> int:
        return int(value(self.url, "SELECT count(DISTINCT number) FROM event_effects"))

    def number(self, condition: str) -> int:
        """Return the number of jobs that satisfy a condition."""
        return int(value(self.url, f"SELECT count(*) FROM jobs WHERE {condition}"))

    def executing(self) -> int | None:
        """Return the id of a process that executes a job at this moment."""
        name = value(self.url, "SELECT worker FROM jobs WHERE state = 'running' ORDER BY random() LIMIT 1")
        return None if name is None else int(name.split("-")[-2])

    def until_done(self, names: str = "note%", *, timeout_s: float = 90.0) -> None:
        """Wait until no job with such a name is queued or executes."""
        left = f"state IN ('queued', 'running') AND name LIKE '{names}'"
        wait_until(lambda: self.number(left) == 0, timeout_s=timeout_s, what=lambda: self._states())

    def effects(self, names: str = "note%") -> Counter[str]:
        """Return how often each effect of the jobs with such a name is there."""
        query = (
            "SELECT coalesce(array_agg(note), '{}') FROM effects JOIN jobs ON jobs.id = job_id"
            f" WHERE name LIKE '{names}'"
        )
        return Counter(value(self.url, query))

    def _states(self) -> str:
        counts = value(
            self.url,
            "SELECT json_object_agg(state, n) FROM (SELECT state, count(*) n FROM jobs GROUP BY state) s",
        )
        return f"no job that waits, in {counts}\n" + "\n".join(each.service.output() for each in self.workers)


@contextmanager
def work_fleet(url: str, **more: str) -> Iterator[WorkFleet]:
    """Start the process that enqueues; at the end, stop it and all workers."""
    env = {**_ENVIRON, **more, "DATABASE_URL": url, "RUN_WORKER": "false"}
    with running("work_sample", env) as web:
        fleet = WorkFleet(url, web, more)
        try:
            yield fleet
        except BaseException:
            for worker in fleet.workers:
                with suppress(Exception):
                    worker.kill()
                    worker.stop()
            raise
        for worker in list(fleet.workers):
            fleet.remove(worker)
