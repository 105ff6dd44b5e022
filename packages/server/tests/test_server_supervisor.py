"""The lifecycle, and races that are too rare to reproduce with real processes."""

import socket
import subprocess
import sys
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any

import pytest
from starkeel_server._config.settings import ServerSettings
from starkeel_server._ipc.scoreboard import Phase, Scoreboard, WorkerState
from starkeel_server._supervisor.lifecycle import Lifecycle
from starkeel_server._supervisor.supervisor import Supervisor
from starkeel_server._supervisor.worker_pool import WorkerPool


class StartingWorker:
    """A worker that advances its state just before it is killed."""

    def __init__(self, index: int, slot: Any, state: WorkerState) -> None:
        self.index, self.slot, self.pid = index, slot, 0
        self.is_up = self.was_killed = False
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
    config: Any = SimpleNamespace(active=SimpleNamespace(server=ServerSettings()))
    rolling_restart: Any = None
    died: list[bool] = []
    supervisor = Supervisor(
        config,
        lifecycle,
        scoreboard,
        socket.create_server(("127.0.0.1", 0)),
        pool=pool,
        rolling_restart=rolling_restart,
        on_exit=lambda _, has_died: died.append(has_died),
        reload_requested=Event(),
    )
    pool.start(0)
    lifecycle.stop("received SIGTERM")

    code = supervisor.run()

    for end in (supervisor._waker, supervisor._wakes):
        end.close()
    assert (code, died) == (0, [False])


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
