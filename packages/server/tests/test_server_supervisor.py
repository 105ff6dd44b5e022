"""Races that are too rare to reproduce with real processes."""

import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from starkeel_server._config.settings import ServerSettings
from starkeel_server._ipc.scoreboard import Scoreboard, WorkerState
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


@pytest.mark.parametrize("state", [WorkerState.BOOTING, WorkerState.OPENING, WorkerState.UP])
def test_a_worker_killed_while_it_starts_is_not_reported_as_died(tmp_path: Path, state: WorkerState) -> None:
    scoreboard = Scoreboard.create(tmp_path / "scoreboard", slots=2)

    def spawn(index: int, slot: Any, _: bool) -> Any:
        return StartingWorker(index, slot, state)

    pool = WorkerPool(scoreboard, spawn=spawn)
    config: Any = SimpleNamespace(active=SimpleNamespace(server=ServerSettings()))
    rolling_restart: Any = None
    died: list[bool] = []
    listener = socket.create_server(("127.0.0.1", 0))
    supervisor = Supervisor(
        config,
        scoreboard,
        listener,
        pool=pool,
        rolling_restart=rolling_restart,
        on_exit=lambda _, has_died: died.append(has_died),
    )
    pool.start(0)
    supervisor.stop()

    code = supervisor.run()

    for end in (supervisor._waker, supervisor._wakes):
        end.close()
    assert (code, died) == (0, [False])
