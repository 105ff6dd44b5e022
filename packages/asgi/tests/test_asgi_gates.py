"""Gates: their restoration before a retry, the deadline that passes while they run, and held-back bodies."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
import starkeel_asgi._exchange.gates as gates_module
import starkeel_asgi._exchange.http as http_module
from litestar import asgi, get
from litestar.middleware import ASGIMiddleware
from starkeel_asgi import DeadlineQueue, GateOrder, HttpExchange, Response, current

DEADLINE_S = 0.01


@get("/")
async def hello() -> dict[str, int]:
    return {"id": 7}


class Gated:
    """A layer with one gate and, if given, a deadline; responds with 504 where it passes."""

    order = 0

    def __init__(
        self,
        gate: Callable[[Response], Awaitable[None]],
        *,
        deadline_s: float | None = None,
        is_buffered: bool = False,
    ) -> None:
        self._gate = gate
        self._deadline_s = deadline_s
        self._is_buffered = is_buffered
        self.errors: list[BaseException | None] = []
        self.exchange: Any = None

    def begin(self, exchange: HttpExchange) -> None:
        self.exchange = exchange
        exchange.add_gate(self._gate, GateOrder.COMMIT)
        if self._is_buffered:
            exchange.buffer_response(lambda status: status < 400)
        if self._deadline_s is not None:
            exchange.set_deadline(DeadlineQueue(self._deadline_s))

    def end(self, exchange: HttpExchange, error: BaseException | None) -> None:
        self.errors.append(error)

    async def conclude(self, exchange: HttpExchange, error: BaseException | None) -> BaseException | None:
        if not exchange.is_expired:
            return error
        assert exchange.is_cancelled_by_deadline_alone()
        await exchange.respond(504, [], b"")
        return None


async def _until_deadline_has_passed() -> None:
    # Timers fire in the order of their times.
    passed = asyncio.Event()
    asyncio.get_running_loop().call_later(5 * DEADLINE_S, passed.set)
    await passed.wait()


def _statuses(sent: list[Any]) -> list[int]:
    return [message["status"] for message in sent if message["type"] == "http.response.start"]


class RetryOnce(ASGIMiddleware):
    """Runs the rest of the application twice, in each run with a gate, a cleanup and a header of its own."""

    def __init__(self, calls: list[str]) -> None:
        self._calls = calls

    async def handle(self, scope: Any, receive: Any, send: Any, next_app: Any) -> None:
        exchange: Any = current(scope)
        exchange.keep_body()
        for run in ("first", "second"):
            _register(exchange, run, self._calls)
            if run == "first":
                exchange.add_gate(_refuse, GateOrder.VERIFY)
            try:
                await next_app(scope, receive, send)
            except _Refused:
                await exchange.restart()


class _Refused(BaseException):
    pass


async def _refuse(_: Response) -> None:
    raise _Refused


def _register(exchange: HttpExchange, name: str, calls: list[str]) -> None:
    async def gate(_: Response) -> None:
        calls.append(f"gate {name}")

    async def cleanup() -> None:
        calls.append(f"cleanup {name}")

    exchange.add_gate(gate, GateOrder.STORE)
    exchange.add_cleanup(cleanup)
    exchange.added_headers += ((b"x-run", name.encode()),)


async def test_a_restart_restores_what_the_exchange_had_before_the_retried_part(drive: Any) -> None:
    calls: list[str] = []

    class Outer(Gated):
        def begin(self, exchange: HttpExchange) -> None:
            _register(exchange, "outer", calls)

    async with drive([hello], Outer(_refuse), middleware=[RetryOnce(calls)]) as driver:
        sent = await driver.request("GET /")

    assert _statuses(sent) == [200]
    assert calls == [
        *("gate outer", "gate first", "cleanup first"),
        *("gate outer", "gate second", "cleanup second", "cleanup outer"),
    ]
    assert [value for name, value in sent[0]["headers"] if name == b"x-run"] == [b"outer", b"second"]


async def test_a_commit_in_progress_is_finished_when_the_deadline_passes(drive: Any) -> None:
    committed: list[int] = []

    async def commit(response: Response) -> None:
        await _until_deadline_has_passed()
        committed.append(response.status)

    layer = Gated(commit, deadline_s=DEADLINE_S)
    async with drive([hello], layer) as driver:
        sent = await driver.request("GET /")

    assert (committed, _statuses(sent), sent[1]["body"]) == ([200], [200], b'{"id":7}')
    assert layer.errors == [None]
    assert not layer.exchange.is_expired


async def test_a_commit_that_fails_after_the_deadline_is_a_timeout(drive: Any) -> None:
    async def commit(_: Response) -> None:
        await _until_deadline_has_passed()
        raise ValueError("refused")

    layer = Gated(commit, deadline_s=DEADLINE_S)
    async with drive([hello], layer) as driver:
        sent = await driver.request("GET /")

    assert (_statuses(sent), layer.errors) == ([504], [None])
    assert layer.exchange.is_expired


async def test_a_commit_has_limited_time_after_the_deadline(
    drive: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_module, "_OVERTIME_S", DEADLINE_S)

    async def commit(_: Response) -> None:
        await asyncio.Event().wait()

    async with drive([hello], Gated(commit, deadline_s=DEADLINE_S)) as driver:
        sent = await asyncio.wait_for(driver.request("GET /"), timeout=10)

    assert _statuses(sent) == [504]


async def test_a_commit_that_finishes_although_it_was_aborted_sends_no_second_response(drive: Any) -> None:
    is_committing = asyncio.Event()

    async def commit(_: Response) -> None:
        is_committing.set()
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()

    layer = Gated(commit)
    async with drive([hello], layer) as driver:
        request = asyncio.ensure_future(driver.request("GET /"))
        await is_committing.wait()
        await layer.exchange.abort()
        sent = await asyncio.wait_for(request, timeout=10)

    assert _statuses(sent) == [503]


@asgi("/parts", is_mount=True, copy_scope=True)
async def parts(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200})
    for part in (b"abc", b"def", b"ghi"):
        await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _pass(_: Response) -> None: ...


async def test_a_body_in_parts_is_held_back_as_one(drive: Any) -> None:
    async with drive([parts], Gated(_pass, is_buffered=True)) as driver:
        (_, body) = await driver.request("GET /parts")

    assert body == {"type": "http.response.body", "body": b"abcdefghi", "more_body": False}


async def test_a_body_that_is_too_large_to_be_held_back_is_an_error(
    drive: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gates_module, "_MAX_BUFFERED_BYTES", 8)
    statuses: list[int] = []

    async def commit(response: Response) -> None:
        statuses.append(response.status)

    async with drive([parts], Gated(commit, is_buffered=True)) as driver:
        sent = await driver.request("GET /parts")

    assert (_statuses(sent), statuses) == ([500], [500])
