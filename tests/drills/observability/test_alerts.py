"""From what happened to those who are told of it."""

from typing import Any

import httpx2
from starkeel_testing import wait_until

from .watched_fleet import Fleet


def test_failed_requests_are_told_with_what_to_do(watched: Fleet) -> None:
    told = _told(watched, "page", "AvailabilityBudgetBurn")
    assert told["labels"] == {
        "alertname": "AvailabilityBudgetBurn",
        "service": "orders",
        "severity": "critical",
    }
    assert told["annotations"]["summary"].startswith("orders fails ")
    assert told["annotations"]["runbook_url"].endswith("/docs/runbooks/AvailabilityBudgetBurn.md")
    assert told["annotations"]["dashboard"] == "/d/starkeel-service?var-service=orders"


def test_a_worker_that_died_is_told_of_for_work_hours(watched: Fleet) -> None:
    told = _told(watched, "ticket", "WorkerDied")
    assert told["labels"]["reason"] == "signal"
    assert told["labels"]["instance"] == watched.orders.admin_url.removeprefix("http://")


def test_the_watchdog_is_heard_of(watched: Fleet) -> None:
    assert _told(watched, "watchdog", "Watchdog")["status"] == "firing"


def test_the_worse_of_two_alerts_silences_the_other(watched: Fleet) -> None:
    def states() -> dict[str, str]:
        return {one["labels"]["severity"]: one["status"]["state"] for one in _alerts(watched)}

    def _alerts(fleet: Fleet) -> list[dict[str, Any]]:
        wanted = {"filter": "alertname=AvailabilityBudgetBurn"}
        url = f"http://{fleet.alertmanager}/api/v2/alerts"
        found: list[dict[str, Any]] = httpx2.get(url, params=wanted, timeout=20, trust_env=False).json()
        return found

    expected = {"critical": "active", "warning": "suppressed"}
    wait_until(lambda: states() == expected, timeout_s=60, what=lambda: str(states()))
    assert watched.inbox.alerts("ticket", "AvailabilityBudgetBurn") == []


def _told(fleet: Fleet, receiver: str, name: str) -> dict[str, Any]:
    def told() -> list[dict[str, Any]]:
        return fleet.inbox.alerts(receiver, name)

    return wait_until(told, timeout_s=60, what=f"{receiver} to be told of {name}")[0]
