"""What load balancers and kubelets ask."""

from typing import Any, Protocol

from litestar import Response, get
from litestar.handlers import HTTPRouteHandler

from ._board import Phase, Seat
from ._readiness import Readiness

_OPT = {"exclude_from_auth": True}
_UNCACHED = {"Cache-Control": "no-store"}


class Asked(Protocol):
    """What the endpoints know about their process."""

    @property
    def seat(self) -> Seat | None:
        """The worker's part of the board."""

    @property
    def readiness(self) -> Readiness | None:
        """The readiness checks."""


def health_handlers(asked: Asked) -> list[HTTPRouteHandler]:
    """The endpoints; none is part of the API, nor asks who asks."""

    @get("/health/live", include_in_schema=False, opt=_OPT, summary="Whether the process answers")
    async def live() -> Response[dict[str, Any]]:
        # Nothing outside the process: an outage of the database must not restart every instance.
        return _answer(200, status="live")

    @get("/health/started", include_in_schema=False, opt=_OPT, summary="Whether boot is over")
    async def started() -> Response[dict[str, Any]]:
        if _is_booted(asked):
            return _answer(200, status="started")
        return _answer(503, status="starting")

    @get("/health/ready", include_in_schema=False, opt=_OPT, summary="Whether requests may be sent here")
    async def ready() -> Response[dict[str, Any]]:
        # One worker that leaves does not make the service leave.
        if asked.seat is not None and asked.seat.board.phase is not Phase.SERVING:
            # At once, without asking anything: this is what tells a load balancer to go elsewhere.
            return _answer(503, status="draining", checks={})
        if not _is_booted(asked) or asked.readiness is None:
            return _answer(503, status="not ready", checks={})
        report = await asked.readiness.report()
        is_ready = report.is_ready
        return _answer(
            200 if is_ready else 503, status="ready" if is_ready else "not ready", checks=report.checks
        )

    return [live, started, ready]


def _is_booted(asked: Asked) -> bool:
    return asked.seat is None or asked.seat.board.booted


def _answer(status_code: int, **content: Any) -> Response[dict[str, Any]]:
    return Response(content, status_code=status_code, headers=_UNCACHED)
