"""Open-loop HTTP load in a process of its own: requests are sent when they are due, whatever the responses.

A closed loop sends less as soon as a service is slow, and hides how long requests would have waited. In a
thread of the test it would share the interpreter with what the test measures.
"""

import asyncio
import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import uvloop

from .load import Connection, Incomplete

ROOT = Path(__file__).parents[2]
PROBE_EVERY_S = 0.05


class Sent(NamedTuple):
    """A request and its response.

    Attributes:
        at: Seconds from the begin of the load at which it was due.
        status: 0 without a complete response.
        taken: Seconds from then until its response.
    """

    at: float
    status: int
    taken: float


@dataclass(frozen=True)
class Plan:
    """Requests to send.

    Attributes:
        requests: Method and path of requests that are sent in turn.
        phases: Requests per second and seconds, one phase after the other.
        kept: Number of clients that send one request after the other until the load ends.
        headers: Lines of headers of each request.
        probe: Path that is requested every 50 ms on a new connection; empty for none.
    """

    url: str
    requests: list[tuple[str, str]]
    phases: list[tuple[float, float]] = field(default_factory=list)
    kept: int = 0
    headers: str = ""
    probe: str = ""


@dataclass(frozen=True)
class Result:
    """Requests that were sent, by method and path.

    Attributes:
        began: Begin of the load in monotonic seconds.
        late_s: How late the generator itself was at most.
    """

    sent: dict[str, list[Sent]]
    probes: list[Sent]
    began: float
    late_s: float

    def all(self, *, since: float = 0, until: float = float("inf")) -> list[Sent]:
        """Return the requests that were due in a time, in seconds from the begin."""
        return [sent for each in self.sent.values() for sent in each if since <= sent.at < until]


@contextmanager
def generating(plan: Plan, *, niceness: int = 0) -> Iterator["Generator"]:
    """Run a load; it is killed if it is not waited for.

    Args:
        niceness: Added to the priority of its process: with 19 it takes from the service only what the
            processors have left, as clients on other machines do.
    """
    command = [sys.executable, "-m", "tests.support.open_loop", json.dumps(asdict(plan))]
    command = ["nice", "-n", str(niceness), *command]
    with subprocess.Popen(
        command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        try:
            yield Generator(process)
        finally:
            process.kill()


class Generator:
    """A load that runs."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def result(self, *, timeout_s: float = 120) -> Result:
        """Wait for the end of the last phase, end the kept connections, and return what was sent."""
        output, _ = self._process.communicate(timeout=timeout_s)
        assert self._process.returncode == 0
        found = json.loads(output)
        sent = {name: [Sent(*each) for each in values] for name, values in found["sent"].items()}
        return Result(sent, [Sent(*each) for each in found["probes"]], found["began"], found["late_s"])


class _Load:
    def __init__(self, plan: Plan) -> None:
        parts = urlsplit(plan.url)
        self._host, self._port = str(parts.hostname), parts.port or 80
        self._plan = plan
        self._idle: list[Connection] = []
        self.began = time.monotonic()
        self._is_over = asyncio.Event()
        self.sent: dict[str, list[Sent]] = {f"{method} {path}": [] for method, path in plan.requests}
        self.probes: list[Sent] = []
        self.late_s = 0.0

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(self._plan.kept):
                group.create_task(self._repeat())
            if self._plan.probe:
                group.create_task(self._check())
            await self._send_phases(group)
            if not self._plan.phases:
                await asyncio.to_thread(sys.stdin.read)
            self._is_over.set()

    async def _send_phases(self, group: asyncio.TaskGroup) -> None:
        chance = random.Random(7)
        due, end, number = 0.0, 0.0, 0
        for rate, seconds in self._plan.phases:
            end += seconds
            while due < end:
                now = time.monotonic() - self.began
                if now < due:
                    await asyncio.sleep(due - now)
                else:
                    self.late_s = max(self.late_s, now - due)
                group.create_task(self._request(number % len(self._plan.requests), due))
                number += 1
                due += chance.expovariate(rate)
            due = end
            await asyncio.sleep(max(0.0, self.began + end - time.monotonic()))

    async def _repeat(self) -> None:
        while not self._is_over.is_set():
            await self._request(0, time.monotonic() - self.began)

    async def _check(self) -> None:
        while not self._is_over.is_set():
            at = time.monotonic() - self.began
            connection: Connection | None = None
            status = 0
            try:
                connection = await Connection.open(self._host, self._port)
                status = (await connection.get(self._plan.probe, "")).status
            except (OSError, Incomplete, TimeoutError):
                pass
            if connection is not None:
                connection.close()
            self.probes.append(Sent(at, status, time.monotonic() - self.began - at))
            await asyncio.sleep(PROBE_EVERY_S)

    async def _request(self, number: int, due: float) -> None:
        method, path = self._plan.requests[number]
        status = 0
        try:
            while self._idle and self._idle[-1].is_lost:
                self._idle.pop()
            connection = self._idle.pop() if self._idle else await Connection.open(self._host, self._port)
            response = await connection.get(path, self._plan.headers, method)
            status = response.status
            if response.headers.get("connection", "").lower() == "close":
                connection.close()
            else:
                self._idle.append(connection)
        except (OSError, Incomplete, TimeoutError):
            pass
        taken = time.monotonic() - self.began - due
        self.sent[f"{method} {path}"].append(Sent(due, status, taken))


async def _main() -> dict[str, Any]:
    given = json.loads(sys.argv[1])
    load = _Load(Plan(**given))
    await load.run()
    return {"sent": load.sent, "probes": load.probes, "began": load.began, "late_s": load.late_s}


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        sys.stdout.write(json.dumps(runner.run(_main())))
