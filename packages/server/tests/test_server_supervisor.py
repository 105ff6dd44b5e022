"""What a real process does too rarely to wait for it: two sides that act in the same instant."""

import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from starkeel_server._board import Board, State
from starkeel_server._crew import Crew
from starkeel_server._settings import ServerSettings
from starkeel_server._supervisor import Supervisor


class ComingUp:
    """A process that is further than main saw when main ends it."""

    def __init__(self, index: int, seat: Any, state: State) -> None:
        self.index, self.seat, self.slot, self.pid = index, seat, seat.slot, 0
        self.is_up = self.is_dismissed = False
        self._state = state
        self._process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])

    @property
    def returncode(self) -> int | None:
        return self._process.poll()

    def kill(self) -> None:
        self.is_dismissed = True
        self.seat.state = self._state
        self._process.kill()


@pytest.mark.parametrize("state", [State.BOOTING, State.OPENING, State.UP])
def test_a_worker_that_comes_up_while_main_stops_has_not_died(tmp_path: Path, state: State) -> None:
    board = Board.create(tmp_path / "board", slots=2)

    def spawn(index: int, seat: Any, _: bool) -> Any:
        return ComingUp(index, seat, state)

    crew = Crew(board, spawn=spawn)
    configuration: Any = SimpleNamespace(proven=SimpleNamespace(server=ServerSettings()))
    turnover: Any = None
    died: list[bool] = []
    listener = socket.create_server(("127.0.0.1", 0))
    supervisor = Supervisor(
        configuration,
        board,
        listener,
        crew=crew,
        turnover=turnover,
        on_end=lambda _, has_died: died.append(has_died),
    )
    crew.start(0)
    supervisor.stop()

    code = supervisor.run()

    for end in (supervisor._waker, supervisor._wakes):
        end.close()
    assert (code, died) == (0, [False])
