"""What the admin port says about the process."""

from typing import Any, Literal

from ._admin import Asked, Page, json_page
from ._board import Board, Phase, Seat, State
from ._crew import Crew
from ._workers import Worker

SILENT_S = 2.0
"""Seconds after which a worker whose event loop was not heard of is not ready."""


class MainState:
    """How far main is, and through the board how its workers are."""

    def __init__(self) -> None:
        self._stage: Literal["starting", "migrations", "serving"] = "starting"
        self._board: Board | None = None
        self._crew: Crew | None = None

    def migrating(self) -> None:
        """The database is being waited for or migrated."""
        self._stage = "migrations"

    def serving(self, board: Board, crew: Crew) -> None:
        """Workers are started."""
        self._board, self._crew = board, crew
        self._stage = "serving"

    def workers(self) -> list[Worker]:
        """Every worker that runs."""
        return [] if self._crew is None else self._crew.all()

    def live(self, _: Asked) -> Page:
        """Main answers."""
        return _page(200, status="live")

    def ready(self, _: Asked) -> Page:
        """Whether every worker is up, heard of and ready."""
        if self._board is None or self._crew is None:
            return _page(503, status="not ready", reason=self._stage)
        seats = enumerate(self._crew.seats())
        workers = [{"index": index, "status": _status(seat)} for index, seat in seats]
        if self._board.phase is not Phase.SERVING:
            return _page(503, status="draining", reason="stopping", workers=workers)
        if all(worker["status"] == "ready" for worker in workers):
            return _page(200, status="ready", workers=workers)
        return _page(503, status="not ready", reason="workers", workers=workers)


def _status(seat: Seat) -> str:
    if not seat.has_been_up:
        return "starting"
    if seat.state is State.CLOSING:
        return "stopping"
    if seat.silence_s > SILENT_S:
        return "unresponsive"
    return "ready" if seat.is_ready else "not ready"


def _page(status_code: int, **content: Any) -> Page:
    return json_page(status_code, content)
