"""Requests that wait for their turn, and requests whose client has left."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from litestar import Request, get, post
from litestar.params import FromPath
from starkeel_asgi import AT_ONCE, GateOrder, current
from starkeel_asgi._fair_queue import MAX_PER_CLIENT
from starkeel_asgi._open_exchanges import MAX_RECENT

WAIT_S = 20


async def until(is_so: Any) -> None:
    async with asyncio.timeout(WAIT_S):
        while not is_so():  # noqa: ASYNC110 - conditions without an event
            await asyncio.sleep(0.005)


@asynccontextmanager
async def late_loop() -> AsyncGenerator[None]:
    """Keep the event loop busy, so that each of its iterations is late."""

    async def keep_busy() -> None:
        while True:
            time.sleep(0.006)  # noqa: ASYNC251 - the purpose
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(keep_busy())
        try:
            yield
        finally:
            task.cancel()


class Client:
    """A client that sends one request and stays until it leaves."""

    def __init__(self, driver: Any, target: str, *, user: str = "", body: bytes = b"") -> None:
        self._left = asyncio.Event()
        self._messages = [{"type": "http.request", "body": body, "more_body": bool(body)}]
        if body:
            self._messages.append({"type": "http.request", "body": b"", "more_body": False})
        self.sent: list[Any] = []
        headers = [(b"host", b"x"), (b"authorization", user.encode())]
        scope = driver.scope(target, headers=headers)
        self.served = asyncio.ensure_future(driver.app(scope, self._receive, self._send))

    def leave(self) -> None:
        self._left.set()

    async def _receive(self) -> Any:
        if self._messages:
            return self._messages.pop(0)
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        self.sent.append(message)


class Work:
    """Handlers that record what they do."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.ended: list[str] = []
        self.may_end = asyncio.Event()

    async def do(self, name: str) -> None:
        self.begun.append(name)
        try:
            await self.may_end.wait()
        except asyncio.CancelledError:
            self.ended.append("cancelled")
            raise
        self.ended.append("done")

    def handlers(self) -> list[Any]:
        @get("/tasks/{name:str}")
        async def read(name: FromPath[str]) -> str:
            await self.do(name)
            return name

        @post("/tasks/{name:str}")
        async def write(name: FromPath[str]) -> str:
            await self.do(name)
            return name

        @get("/probe", opt={AT_ONCE: True})
        async def probe() -> str:
            return "alive"

        return [read, write, probe]


async def test_a_read_is_cancelled_when_its_client_leaves(drive: Any) -> None:
    work = Work()
    async with drive(work.handlers()) as driver:
        client = Client(driver, "GET /tasks/1")
        await until(lambda: work.begun)
        client.leave()
        await asyncio.wait_for(client.served, WAIT_S)

    assert work.ended == ["cancelled"]
    assert client.sent == []


async def test_a_write_that_has_begun_finishes_although_its_client_leaves(drive: Any) -> None:
    work = Work()
    async with drive(work.handlers()) as driver:
        client = Client(driver, "POST /tasks/1", body=b"{}")
        await until(lambda: driver.pipeline.open_count == 1 and not driver.pipeline.recent)
        client.leave()
        [exchange] = driver.pipeline.open_exchanges()
        await until(lambda: exchange.client_disconnected)
        work.may_end.set()
        await asyncio.wait_for(client.served, WAIT_S)

    assert work.ended == ["done"]


async def test_a_commit_is_not_cancelled_when_its_client_leaves(drive: Any) -> None:
    committed, may_commit, commits = [], asyncio.Event(), asyncio.Event()

    async def commit(_: Any) -> None:
        commits.set()
        await may_commit.wait()
        committed.append(True)

    @get("/commit")
    async def handler(request: Request[Any, Any, Any]) -> None:
        exchange: Any = current(request.scope)
        exchange.add_gate(commit, GateOrder.COMMIT)

    async with drive([handler]) as driver:
        client = Client(driver, "GET /commit")
        await asyncio.wait_for(commits.wait(), WAIT_S)
        client.leave()
        [exchange] = driver.pipeline.open_exchanges()
        await until(lambda: exchange.client_disconnected)
        may_commit.set()
        await asyncio.wait_for(client.served, WAIT_S)

    assert committed == [True]


@pytest.mark.parametrize(("method", "body"), [("GET", b""), ("POST", b'{"a":1}')])
async def test_a_request_whose_client_leaves_while_it_waits_never_begins(
    drive: Any, method: str, body: bytes
) -> None:
    work = Work()
    async with late_loop(), drive(work.handlers()) as driver:
        first = [Client(driver, f"POST /tasks/{number}") for number in range(MAX_RECENT)]
        await until(lambda: len(work.begun) == MAX_RECENT)
        late = [Client(driver, f"{method} /tasks/late", body=body) for _ in range(50)]
        for client in late:
            client.leave()
        work.may_end.set()
        await asyncio.wait_for(asyncio.gather(*(client.served for client in [*first, *late])), WAIT_S)
        assert not driver.pipeline.open_exchanges()

    begun = work.begun.count("late")
    # A few begin before the event loop has noticed that their clients have left.
    assert begun < len(late) // 2
    assert [client.sent for client in late].count([]) >= len(late) - begun


async def test_users_take_turns(drive: Any) -> None:
    work = Work()
    work.may_end.set()
    async with late_loop(), drive(work.handlers()) as driver:
        await Client(driver, "GET /tasks/first").served
        clients = [Client(driver, "GET /tasks/busy", user="busy") for _ in range(200)]
        await until(lambda: len(work.begun) >= MAX_RECENT)
        begun = len(work.begun)
        clients += [Client(driver, "GET /tasks/quiet", user="quiet") for _ in range(3)]
        await asyncio.wait_for(asyncio.gather(*(client.served for client in clients)), WAIT_S)

    # One of each in turn, after the few that begin before the others have arrived.
    waited = [index for index, name in enumerate(work.begun) if name == "quiet"]
    assert len(waited) == 3
    assert waited[-1] - begun < 4 * MAX_RECENT


async def test_a_user_without_requests_does_not_wait_for_one_with_very_many(
    drive: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Those that execute last, and would make room for others of their user.
    monkeypatch.setattr("starkeel_asgi._open_exchanges._LISTEN_AFTER_NS", 3_600_000_000_000)
    work = Work()
    async with late_loop(), drive(work.handlers()) as driver:
        first = Client(driver, "GET /tasks/first")
        await until(lambda: work.begun)
        busy = [Client(driver, "GET /tasks/busy", user="busy") for _ in range(200)]
        await until(lambda: len(work.begun) >= MAX_RECENT)
        quiet = [Client(driver, "GET /tasks/quiet", user="quiet") for _ in range(3)]
        await until(lambda: "quiet" in work.begun)
        # One, until it ends.
        assert work.begun.count("quiet") == 1
        work.may_end.set()
        served = (client.served for client in (first, *busy, *quiet))
        await asyncio.wait_for(asyncio.gather(*served), WAIT_S)

    assert work.begun.count("quiet") == 3


async def test_users_that_go_ahead_do_not_hold_back_one_with_very_many_for_ever(
    drive: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("starkeel_asgi._open_exchanges._LISTEN_AFTER_NS", 3_600_000_000_000)
    quiet, begun = Work(), []

    @get("/busy")
    async def busy() -> None:
        begun.append("busy")

    async with late_loop(), drive([*quiet.handlers(), busy]) as driver:
        await Client(driver, "GET /busy", user="busy").served
        clients = [Client(driver, "GET /busy", user="busy") for _ in range(200)]
        ahead = Client(driver, "GET /tasks/quiet", user="quiet")
        await until(lambda: quiet.begun and driver.pipeline._open.ahead)
        before = len(begun)
        await until(lambda: len(begun) > before + 10)
        assert driver.pipeline._open.ahead
        quiet.may_end.set()
        await asyncio.wait_for(asyncio.gather(*(client.served for client in [ahead, *clients])), WAIT_S)

    assert len(begun) == 1 + len(clients)


async def test_a_probe_does_not_wait(drive: Any) -> None:
    work = Work()
    work.may_end.set()
    async with late_loop(), drive(work.handlers()) as driver:
        await Client(driver, "GET /tasks/1").served
        clients = [Client(driver, "GET /tasks/1") for _ in range(200)]
        await until(lambda: len(work.begun) >= MAX_RECENT)
        probe = Client(driver, "GET /probe")
        await asyncio.wait_for(probe.served, WAIT_S)
        assert len(work.begun) < len(clients)
        await asyncio.wait_for(asyncio.gather(*(client.served for client in clients)), WAIT_S)

    assert probe.sent[0]["status"] == 200


async def test_requests_that_wait_for_something_else_do_not_make_others_wait(
    drive: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their number is no measure of load: the event loop has time."""
    # None counts as lasting, after which others would begin in its place.
    monkeypatch.setattr("starkeel_asgi._open_exchanges._LISTEN_AFTER_NS", 3_600_000_000_000)
    work = Work()
    async with drive(work.handlers()) as driver:
        clients = [Client(driver, "GET /tasks/1") for _ in range(20 * MAX_RECENT)]
        await until(lambda: len(work.begun) == len(clients))
        work.may_end.set()
        await asyncio.wait_for(asyncio.gather(*(client.served for client in clients)), WAIT_S)

    assert [client.sent[0]["status"] for client in clients] == [200] * len(clients)


async def test_a_client_has_a_bounded_number_of_requests_while_there_are_others(
    drive: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise they would take all connections of a pool."""
    monkeypatch.setattr("starkeel_asgi._fair_queue._ABSENT_NS", 3_600_000_000_000)
    monkeypatch.setattr("starkeel_asgi._fair_queue._OVERDUE_NS", 3_600_000_000_000)
    work = Work()
    async with drive(work.handlers()) as driver:
        alone = [Client(driver, "GET /tasks/busy", user="busy") for _ in range(4 * MAX_PER_CLIENT)]
        await until(lambda: len(work.begun) == len(alone))
        other = Client(driver, "GET /tasks/quiet", user="quiet")
        await until(lambda: "quiet" in work.begun)
        more = [Client(driver, "GET /tasks/more", user="busy") for _ in range(4 * MAX_PER_CLIENT)]
        await until(lambda: driver.pipeline.open_count == len(alone) + 1 + len(more))
        others = [Client(driver, "GET /tasks/quiet", user="quiet") for _ in range(MAX_PER_CLIENT // 2)]
        await until(lambda: work.begun.count("quiet") == 1 + len(others))
        assert work.begun.count("more") <= MAX_PER_CLIENT
        work.may_end.set()
        clients = [*alone, other, *more, *others]
        await asyncio.wait_for(asyncio.gather(*(client.served for client in clients)), WAIT_S)

    assert [client.sent[0]["status"] for client in clients] == [200] * len(clients)
