"""The pool's care: a minimum that is open, nothing idle above it for long."""

import anyio
import structlog
from sqlalchemy.util import greenlet_spawn

from ._engine import Share
from ._errors import DatabaseUnavailable
from ._metrics import PoolMetrics
from ._pool import ElasticPool

log = structlog.get_logger(__name__)

_ROUND_S = 1.0


class Upkeep:
    """Looks after a pool, once a second.

    Args:
        pool: Which.
        share: What it may use.
        idle_timeout_s: Seconds a connection above the minimum may be unused.
    """

    def __init__(self, pool: ElasticPool, share: Share, *, idle_timeout_s: float) -> None:
        self._pool = pool
        self._share = share
        self._idle_timeout_s = min(idle_timeout_s, 86_400.0)
        self._metrics = PoolMetrics(pool, minimum=share.minimum)

    async def run(self) -> None:
        """Do so until cancelled."""
        while True:
            await self._tidy()
            self._metrics.tell()
            await anyio.sleep(_ROUND_S)

    def clear(self) -> None:
        """Have the metrics tell of no pool."""
        self._metrics.clear()

    async def _tidy(self) -> None:
        try:
            await greenlet_spawn(
                self._pool.close_unneeded,
                minimum=self._share.minimum,
                idle_timeout_s=self._idle_timeout_s,
            )
            while self._pool.open < self._share.minimum:
                await greenlet_spawn(self._pool.open_one)
        except DatabaseUnavailable as error:
            log.debug("minimum of connections not open", reason=error.reason)
        except Exception as error:  # noqa: BLE001 - the pool works without this; the next round tries again
            log.warning("connections not looked after", error=repr(error))
