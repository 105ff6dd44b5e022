"""The lifecycle, and races that are too rare to reproduce with real processes."""

import asyncio
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Queue
from threading import Event, Thread
from types import SimpleNamespace
from typing import Any

import pytest
from starkeel_server._config.settings import ServerSettings
from starkeel_server._ipc.scoreboard import Phase, Scoreboard, WorkerState
from starkeel_server._ipc.spawn import SpareProcess
from starkeel_server._supervisor import supervisor as supervisor_module
from starkeel_server._supervisor.lifecycle import Lifecycle
from starkeel_server._supervisor.restarts import MAX_FAILED_STARTS, STABLE_S, Restarts
from starkeel_server._supervisor.supervisor import Supervisor
from starkeel_server._supervisor.worker_pool import WorkerPool
from starkeel_server._worker.loop_watchdog import loop_watchdog

from .sample import wait_until


class StartingWorker:
    """A worker that advances its state just before it is killed."""

    def __init__(self, index: int, slot: Any, state: WorkerState) -> None:
        self.index, self.slot, self.pid = index, slot, 0
        self.is_up = self.was_killed = False
        self.channel = SimpleNamespace(is_connected=False)
        self._state = state
        self._process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])

    @property
    def returncode(self) -> int | None:
        return self._process.poll()

    def kill(self) -> None:
        self.was_killed = True
        self.slot.state = self._state
        self._process.kill()


@pytest.mark.parametrize("state", [WorkerState.STARTING, WorkerState.OPENING, WorkerState.UP])
def test_a_worker_killed_while_it_starts_is_not_reported_as_died(tmp_path: Path, state: WorkerState) -> None:
    scoreboard = Scoreboard.create(tmp_path / "scoreboard", slots=2)
    lifecycle = running(scoreboard)

    def spawn(index: int, slot: Any, _: bool) -> Any:
        return StartingWorker(index, slot, state)

    pool = WorkerPool(scoreboard, lifecycle, spawn)
    died: list[bool] = []
    supervisor = supervisor_of(pool, lifecycle, scoreboard, on_exit=lambda _, has_died: died.append(has_died))
    pool.start(0)
    lifecycle.stop("received SIGTERM")

    code = supervisor.run()

    for end in (supervisor._waker, supervisor._wakes):
        end.close()
    assert (code, died) == (0, [False])


def supervisor_of(
    pool: WorkerPool,
    lifecycle: Lifecycle,
    scoreboard: Scoreboard,
    *,
    on_exit: Callable[[Any, bool], None] = lambda _worker, _has_died: None,
) -> Supervisor:
    """Return a supervisor of workers that are never replaced."""
    config: Any = SimpleNamespace(active=SimpleNamespace(server=ServerSettings()))
    rolling_restart: Any = SimpleNamespace(is_running=False, step=list)
    return Supervisor(
        config,
        lifecycle,
        scoreboard,
        socket.create_server(("127.0.0.1", 0)),
        pool=pool,
        rolling_restart=rolling_restart,
        on_exit=on_exit,
        reload_requested=Event(),
    )


def running(scoreboard: Scoreboard, lines: list[Any] | None = None) -> Lifecycle:
    logged: list[Any] = [] if lines is None else lines
    lifecycle = Lifecycle(lambda message, **fields: logged.append((message, fields["phase"])))
    lifecycle.publish_to(scoreboard)
    lifecycle.advance(Phase.STARTING, "listening")
    return lifecycle


def test_phases_only_advance_and_each_transition_is_published_and_logged(tmp_path: Path) -> None:
    scoreboard = Scoreboard.create(tmp_path / "scoreboard", slots=1)
    lines: list[Any] = []
    lifecycle = running(scoreboard, lines)

    assert lifecycle.advance(Phase.RUNNING, "workers started", after=Phase.STARTING)
    assert not lifecycle.advance(Phase.STARTING, "listening")
    assert scoreboard.phase is Phase.RUNNING
    assert lifecycle.stop("received SIGTERM") is Phase.RUNNING
    assert scoreboard.phase is Phase.DRAINING
    assert scoreboard.slot(0).is_draining
    assert not lifecycle.advance(Phase.RUNNING, "workers started", after=Phase.STARTING)
    assert lifecycle.advance(Phase.STOPPING, "stopped accepting connections")
    assert lines == [
        ("listening", "starting"),
        ("workers started", "running"),
        ("received SIGTERM", "draining"),
        ("stopped accepting connections", "stopping"),
    ]


def test_a_stop_before_every_worker_is_up_skips_the_drain(tmp_path: Path) -> None:
    lifecycle = running(Scoreboard.create(tmp_path / "scoreboard", slots=1))

    assert lifecycle.stop("received SIGTERM") is Phase.STARTING
    assert lifecycle.phase is Phase.STOPPING
    assert lifecycle.is_stopping


def test_a_stopping_service_starts_no_workers(tmp_path: Path) -> None:
    scoreboard = Scoreboard.create(tmp_path / "scoreboard", slots=2)
    lifecycle = running(scoreboard)
    spawn: Any = None
    pool = WorkerPool(scoreboard, lifecycle, spawn)
    lifecycle.stop("received SIGTERM")

    pool.start(0)

    assert pool.start_replacement(0) is None
    assert pool.all() == []


def test_the_delay_of_restarts_is_bounded_and_forgotten_after_a_stable_worker() -> None:
    restarts = Restarts()

    delays = [restarts.record_end(0, up_s=1.0, now=100.0).delay_s for _ in range(20)]

    assert delays[:4] == [0.0, 0.2, 0.4, 0.8]
    assert delays[-1] == 30.0
    assert (restarts.due_in_s(0, now=110.0), restarts.due_in_s(1, now=110.0)) == (20.0, 0.0)
    assert restarts.record_end(0, up_s=STABLE_S, now=200.0).delay_s == 0.0
    assert restarts.record_end(0, up_s=1.0, now=200.0).delay_s == 0.2


def test_only_a_stable_worker_restarts_the_count_of_failed_starts() -> None:
    restarts = Restarts()
    for up_s in (None, 1.0, None, None):
        ends = restarts.record_end(0, up_s=up_s, now=0.0)
    assert not restarts.record_end(0, up_s=None, now=0.0).is_crash_loop
    assert restarts.record_end(0, up_s=None, now=0.0).is_crash_loop
    assert ends.failed_starts == MAX_FAILED_STARTS

    assert restarts.record_end(0, up_s=STABLE_S, now=0.0).failed_starts == 0


CHILD = """
import sys
from threading import Event
from starkeel_server._ipc.spawn import CommandChannel

channel = CommandChannel(int(sys.argv[1]))
print(channel.receive()[0].decode(), flush=True)
channel.on_notice = lambda: print("orphaned" if channel.orphaned.is_set() else "noticed", flush=True)
channel.notify()
Event().wait()
"""


@pytest.fixture
def spare(monkeypatch: pytest.MonkeyPatch) -> Iterator[SpareProcess]:
    """A process that prints what it receives and notifies once when it follows notices."""

    def spawn(descriptor: int) -> Any:
        command = [sys.executable, "-c", CHILD, str(descriptor)]
        return subprocess.Popen(command, pass_fds=(descriptor,), stdout=subprocess.PIPE, text=True)

    monkeypatch.setattr("starkeel_server._ipc.spawn._spawn", spawn)
    spare = SpareProcess()
    yield spare
    spare.process.kill()
    spare.process.communicate()
    spare._socket.close()


def test_a_worker_is_notified_of_changes_and_of_the_end_of_the_main_process(spare: SpareProcess) -> None:
    lines: Any = spare.process.stdout

    spare.send_command(b"{}", [])
    # Directly after the command; not part of it.
    spare.notify()
    assert lines.readline() == "{}\n"
    spare._socket.recv(1)
    spare.notify()
    assert lines.readline() == "noticed\n"
    spare._socket.close()

    while (line := lines.readline()) == "noticed\n":
        pass
    assert line == "orphaned\n"


class ConnectedWorker:
    """A worker whose process is connected, but does nothing."""

    def __init__(self, index: int, slot: Any, channel: SpareProcess) -> None:
        self.index, self.slot, self.pid, self.channel = index, slot, channel.process.pid, channel
        self.returncode: int | None = None
        self.was_killed = False

    def measure(self) -> None: ...

    @property
    def is_up(self) -> bool:
        return self.slot.state is WorkerState.UP


def test_a_worker_that_is_up_is_noticed_without_polling(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spare: SpareProcess
) -> None:
    monkeypatch.setattr(supervisor_module, "SAMPLE_INTERVAL_S", 3600)
    scoreboard = Scoreboard.create(tmp_path / "scoreboard", slots=2)
    phases: Queue[str] = Queue()
    lifecycle = Lifecycle(lambda _, **fields: phases.put(fields["phase"]))
    worker: Any = ConnectedWorker(0, scoreboard.slot(0), spare)
    pool = WorkerPool(scoreboard, lifecycle, lambda *_: worker)
    lifecycle.publish_to(scoreboard, pool.notify_all)
    supervisor = supervisor_of(pool, lifecycle, scoreboard)
    pool.start(0)
    lifecycle.advance(Phase.STARTING, "listening")
    running = Thread(target=supervisor.run, daemon=True)
    running.start()

    worker.slot.state = WorkerState.UP
    spare.send_command(b"{}", [])

    assert [phases.get(timeout=10), phases.get(timeout=10)] == ["starting", "running"]
    worker.returncode = 0
    lifecycle.stop("received SIGTERM")
    lifecycle.advance(Phase.STOPPING, "stopped accepting connections")
    supervisor.wake()
    running.join(10)
    assert not running.is_alive()
    for end in (supervisor._waker, supervisor._wakes):
        end.close()


async def test_the_limit_of_a_stall_does_not_delay_heartbeats(tmp_path: Path) -> None:
    slot = Scoreboard.create(tmp_path / "scoreboard", slots=1).slot(0)

    with loop_watchdog(slot, after_s=60):
        slot.reset()
        assert slot.heartbeat_age_s > 2
        await asyncio.to_thread(wait_until, lambda: slot.heartbeat_age_s < 2, timeout_s=3, what="a heartbeat")
        assert slot.heartbeat_age_s < 2
