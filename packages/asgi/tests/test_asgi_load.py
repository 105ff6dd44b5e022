"""Adaptive concurrency limits, and requests that are refused under load."""

import asyncio
import time
from math import inf
from typing import Any

import pytest
from litestar import get
from starkeel_asgi import AT_ONCE, Exchange, Header
from starkeel_asgi._concurrency_limit import MIN_LIMIT, ConcurrencyLimit, RouteTimes
from starkeel_asgi._fair_queue import FairQueue, Shares, Turn

from .test_asgi_fairness import WAIT_S, Client, Work, late_loop, until

MS = 1_000_000
LOW, READ, WRITE = 0, 1, 3


def learned(usual_ms: float) -> RouteTimes:
    times = RouteTimes()
    for _ in range(100):
        times.add(usual_ms * MS)
    return times


class Simulation:
    """Requests that arrive faster than a resource serves them, one window after the other."""

    def __init__(self, usual_ms: float) -> None:
        self.limit, self.times, self.now = ConcurrencyLimit(), learned(usual_ms), 1

    def window(self, offered: int, taken_ms: Any) -> float:
        """Note a window of requests; `taken_ms` returns the time of each of a number that executes."""
        executing = int(min(offered, self.limit.limit))
        taken = int(taken_ms(executing) * MS)
        self.limit.begin(executing, self.now)
        began, self.now = self.now, self.now + max(taken, 200 * MS)
        for _ in range(20):
            self.limit.note(self.times, began, max(self.now, began + taken))
        return self.limit.limit

    def windows(self, count: int, offered: int, taken_ms: Any) -> list[float]:
        return [self.window(offered, taken_ms) for _ in range(count)]


def test_requests_that_wait_for_something_else_have_no_limit() -> None:
    limit, times, now = ConcurrencyLimit(), learned(30), 1
    for window in range(50):
        limit.begin(2000, now)
        for _ in range(40):
            limit.note(times, now, now + 33 * MS)
        now += 200 * MS + window
    assert limit.limit == inf


def test_a_limit_settles_where_requests_hardly_wait_for_a_pool() -> None:
    """A pool of 10 that serves each in 100 ms, and 500 requests at a time."""
    simulation = Simulation(100)
    limits = simulation.windows(60, 500, lambda executing: 100 * max(1, executing / 10))
    assert limits[0] < 500
    assert all(15 <= limit <= 40 for limit in limits[30:]), limits


def test_a_limit_holds_although_ever_more_requests_execute_when_it_begins() -> None:
    """The requests of its first window began when fewer executed than at its end."""
    simulation = Simulation(100)
    first = simulation.window(100, lambda _: 350)
    limits = simulation.windows(30, 500, lambda executing: 100 * max(1, executing / 10))
    assert max(limits) <= first < inf
    assert all(15 <= limit <= 40 for limit in limits[15:]), limits


def test_a_limit_is_never_less_than_a_few() -> None:
    simulation = Simulation(100)
    limits = simulation.windows(40, 500, lambda executing: 100 * executing)
    assert min(limits) == MIN_LIMIT


@pytest.mark.parametrize("taken_ms", [250, 500, 3000])
def test_a_limit_that_does_not_help_ends(taken_ms: float) -> None:
    """The other service has become slow, whatever the number of requests."""
    simulation = Simulation(100)
    limits = simulation.windows(10, 500, lambda _: taken_ms)
    assert limits[0] < inf
    assert min(limits) >= 50
    assert limits[-3:] == [inf] * 3


def test_a_small_limit_ends_when_requests_take_longer_for_another_reason() -> None:
    simulation = Simulation(100)
    assert min(simulation.windows(40, 500, lambda executing: 100 * executing)) == MIN_LIMIT
    assert simulation.windows(100, 500, lambda _: 1000)[-1] == inf


def test_a_limit_that_is_not_reached_ends() -> None:
    simulation = Simulation(100)
    assert simulation.window(500, lambda executing: 100 * max(1, executing / 10)) < inf
    simulation.limit.expire(simulation.now + 1_000 * MS)
    assert simulation.limit.limit < inf
    simulation.limit.expire(simulation.now + 6_000 * MS)
    assert simulation.limit.limit == inf


def queued(*waiting: tuple[str, int]) -> tuple[FairQueue, list[Turn]]:
    queue, turns = FairQueue(), [Turn((name, None), None, rank, 1) for name, rank in waiting]
    for turn in turns:
        queue.add(turn)
    return queue, turns


def test_reads_are_refused_before_writes() -> None:
    queue, turns = queued(("a", WRITE), ("b", READ), ("c", WRITE))
    assert queue.least(Turn(("d", None), None, WRITE, 1)) is turns[1]


def test_the_lowest_priority_is_refused_first() -> None:
    queue, turns = queued(("a", READ), ("b", LOW), ("c", READ))
    assert queue.least(Turn(("d", None), None, WRITE, 1)) is turns[1]


def test_among_equals_the_one_that_arrives_is_refused() -> None:
    queue, _ = queued(("a", READ), ("b", READ))
    arriving = Turn(("c", None), None, READ, 1)
    assert queue.least(arriving) is arriving


def test_the_requests_of_a_busy_client_are_refused_first() -> None:
    queue, turns = queued(*[("busy", WRITE)] * 20, ("quiet", READ))
    assert queue.least(Turn(("other", None), None, READ, 1)) is turns[19]
    arriving = Turn(("busy", None), None, WRITE, 1)
    assert queue.least(arriving) is arriving


def test_a_request_that_was_refused_is_not_granted() -> None:
    queue, turns = queued(("a", READ), ("b", READ), ("a", READ))
    queue.remove(turns[0])
    assert queue.grant(5, Shares(), 2) == [turns[2], turns[1]]
    assert queue.count == 0


class Policy:
    """Refuses, and records what is reported."""

    shed_first = "reads"

    def __init__(self, max_wait_s: float) -> None:
        self.max_wait_s = max_wait_s
        self.reasons: list[str] = []
        self.waits: list[float] = []
        self.states: list[tuple[float, int, int]] = []

    def refused(self, _exchange: Exchange, group: str, reason: str) -> tuple[int, list[Header], bytes]:
        assert group == "default"
        self.reasons.append(reason)
        return 503, [(b"content-length", b"0")], b""

    def begun(self, _group: str, waited_s: float) -> None:
        self.waits.append(waited_s)

    def measured(self, _group: str, *, limit: float, executing: int, waiting: int) -> None:
        self.states.append((limit, executing, waiting))


async def test_requests_that_wait_for_too_long_are_refused(drive: Any) -> None:
    policy, begun = Policy(0.2), []

    @get("/busy")
    async def busy() -> str:
        begun.append(True)
        time.sleep(0.05)  # noqa: ASYNC251 - the purpose
        return "done"

    @get("/probe", opt={AT_ONCE: True})
    async def probe() -> str:
        return "alive"

    async with late_loop(), drive([busy, probe]) as driver:
        driver.pipeline.config.load_policy = policy
        await Client(driver, "GET /busy").served
        clients = [Client(driver, "GET /busy", user=str(number)) for number in range(40)]
        await until(lambda: policy.reasons)
        alive = Client(driver, "GET /probe")
        await asyncio.wait_for(alive.served, WAIT_S)
        await asyncio.wait_for(asyncio.gather(*(client.served for client in clients)), WAIT_S)

    statuses = [client.sent[0]["status"] for client in clients]
    assert set(policy.reasons) == {"late"}
    assert statuses.count(503) == len(policy.reasons)
    assert statuses.count(200) == len(begun) - 1
    assert alive.sent[0]["status"] == 200
    assert any(waiting for _, _, waiting in policy.states)


async def test_no_more_requests_wait_than_can_begin_in_time(
    drive: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("starkeel_asgi._load._MIN_QUEUE", 8)
    work, policy = Work(), Policy(0.05)
    work.may_end.set()
    async with late_loop(), drive(work.handlers()) as driver:
        driver.pipeline.config.load_policy = policy
        clients: list[Client] = []
        async with asyncio.timeout(WAIT_S):
            while "full" not in policy.reasons:
                clients += [Client(driver, "GET /tasks/1") for _ in range(30)]
                await asyncio.sleep(0.03)
        await asyncio.wait_for(asyncio.gather(*(client.served for client in clients)), WAIT_S)

    assert {client.sent[0]["status"] for client in clients} == {200, 503}
    assert policy.waits


async def test_nothing_is_refused_without_a_policy(drive: Any) -> None:
    work = Work()
    work.may_end.set()
    async with late_loop(), drive(work.handlers()) as driver:
        clients = [Client(driver, "GET /tasks/1") for _ in range(150)]
        await asyncio.wait_for(asyncio.gather(*(client.served for client in clients)), 3 * WAIT_S)

    assert [client.sent[0]["status"] for client in clients] == [200] * len(clients)


async def test_requests_under_a_limit_wait_for_those_that_execute(
    drive: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where few are open, and never a probe."""
    work, policy = Work(), Policy(60)

    @get("/more", opt={AT_ONCE: True})
    async def more() -> str:
        return "begun"

    async with drive([*work.handlers(), more]) as driver:
        driver.pipeline.config.load_policy = policy
        opened = driver.pipeline._open
        [group] = {opened._load.of(h).group for route in driver.app.routes for h in route.route_handlers}
        group.limit.limit = 5.0
        monkeypatch.setattr("starkeel_asgi._concurrency_limit._UNUSED_NS", 3_600_000_000_000)
        opened.crowd = -1
        clients = [Client(driver, "GET /tasks/1", user=str(number)) for number in range(12)]
        await until(lambda: len(opened.waiting) == 7)
        probe = Client(driver, "GET /more")
        await asyncio.wait_for(probe.served, WAIT_S)
        assert len(work.begun) == 5
        work.may_end.set()
        await asyncio.wait_for(asyncio.gather(*(client.served for client in clients)), WAIT_S)

    assert [client.sent[0]["status"] for client in clients] == [200] * len(clients)
    assert policy.reasons == []
