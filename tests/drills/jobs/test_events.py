"""Events while their broker is stopped, restarted, and replaced by its replica, in numbers."""

import time
from contextlib import closing
from typing import Any

import pytest
from starkeel_testing import OwnRedis, TcpForwarder, running_redis, wait_until

from ...support.report import report
from .work_fleet import WorkFleet, work_fleet

pytestmark = [pytest.mark.needs_postgres, pytest.mark.timeout(300)]

AWAY_S = 20.0
EACH = 50
PASSWORD = "same-for-both"


def test_a_broker_that_is_stopped_restarted_and_fails_over(postgres_url: str, capsys: Any) -> None:
    with (
        running_redis(password=PASSWORD) as primary,
        running_redis(password=PASSWORD) as replica,
        closing(TcpForwarder(primary.port)) as forwarder,
        work_fleet(postgres_url, BROKER_URL=forwarder.url(primary.url)) as fleet,
    ):
        # What it has confirmed is there after a restart.
        primary.close()
        primary.start(appendonly="yes", appendfsync="always")
        replica.execute("REPLICAOF", "127.0.0.1", primary.port)
        for _ in range(2):
            fleet.start_worker()
        count = published(fleet, 0)
        fleet.until_handled(count)

        primary.kill()
        count = published_while_away(fleet, count)
        primary.start(appendonly="yes", appendfsync="always")
        restarted_s, after_restart = handled_within(fleet, count)

        wait_until(lambda: is_in_step(replica), timeout_s=30, what="the replica to follow")
        # The last events may be on the lost server only.
        count = published(fleet, count)
        primary.kill()
        replica.execute("REPLICAOF", "NO", "ONE")
        forwarder.target = replica.port
        count = published(fleet, count)
        promoted_s, after_failover = handled_within(fleet, count)
        dead = fleet.number("state = 'failed'")
    report(
        capsys,
        f"broker away for {AWAY_S:g} s, restarted: {after_restart}",
        received_again_after=f"{restarted_s:.1f} s",
    )
    report(
        capsys,
        f"broker lost, its replica promoted: {after_failover}",
        received_again_after=f"{promoted_s:.1f} s",
        dead_letters=dead,
    )
    assert after_restart[1:] == (0, 0, 0)
    assert after_failover == (count, 0, 0, 0)
    assert dead == 0


def published(fleet: WorkFleet, first: int) -> int:
    """Publish events; return the number of all until now."""
    fleet.publish(EACH, first=first)
    return first + EACH


def published_while_away(fleet: WorkFleet, count: int) -> int:
    """Publish some every second for as long as the broker is away."""
    ends_at = time.monotonic() + AWAY_S
    for second in range(1, int(AWAY_S) + 1):
        count = published(fleet, count)
        at = ends_at - AWAY_S + second
        wait_until(lambda at=at: time.monotonic() >= at, timeout_s=AWAY_S, what="the next second")
    return count


def handled_within(fleet: WorkFleet, count: int) -> tuple[float, Any]:
    """Return the seconds until all events are handled, and what they are."""
    began = time.monotonic()
    handled = fleet.until_handled(count)
    return time.monotonic() - began, handled


def is_in_step(replica: OwnRedis) -> bool:
    info = replica.execute("INFO", "replication")
    return info["master_link_status"] == "up" and not info["master_sync_in_progress"]
