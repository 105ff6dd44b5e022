"""Alerts as they arrive at their receivers."""

from typing import Any

import httpx2
from starkeel_testing import wait_until

from tools.registry import read

from .watched_fleet import WatchedFleet


def test_failed_requests_page_with_a_runbook(watched: WatchedFleet) -> None:
    alert = _received(watched, "page", "AvailabilityBudgetBurn")
    assert alert["labels"] == {
        "alertname": "AvailabilityBudgetBurn",
        "service": "orders",
        "severity": "critical",
    }
    assert alert["annotations"]["summary"].startswith("orders fails ")
    objective = next(service.slo for service in read() if service.name == "orders")
    budget = f"uses its error budget, {objective.failed_budget * 100:g}% of the requests, so fast"
    assert budget in alert["annotations"]["description"]
    assert alert["annotations"]["runbook_url"].endswith("/docs/runbooks/AvailabilityBudgetBurn.md")
    assert alert["annotations"]["dashboard"] == "/d/starkeel-service?var-service=orders"


def test_a_killed_worker_opens_a_ticket(watched: WatchedFleet) -> None:
    alert = _received(watched, "ticket", "WorkerDied")
    assert alert["labels"]["reason"] == "signal"
    assert alert["labels"]["instance"] == watched.orders.admin_url.removeprefix("http://")


def test_the_watchdog_arrives(watched: WatchedFleet) -> None:
    assert _received(watched, "watchdog", "Watchdog")["status"] == "firing"


def test_the_critical_alert_inhibits_the_warning(watched: WatchedFleet) -> None:
    def states() -> dict[str, str]:
        return {alert["labels"]["severity"]: alert["status"]["state"] for alert in _alerts(watched)}

    def _alerts(fleet: WatchedFleet) -> list[dict[str, Any]]:
        query = {"filter": "alertname=AvailabilityBudgetBurn"}
        url = f"http://{fleet.alertmanager}/api/v2/alerts"
        found: list[dict[str, Any]] = httpx2.get(url, params=query, timeout=20, trust_env=False).json()
        return found

    expected = {"critical": "active", "warning": "suppressed"}
    wait_until(lambda: states() == expected, timeout_s=60, what=lambda: str(states()))
    assert watched.alerts.sent_to("ticket", "AvailabilityBudgetBurn") == []


def _received(fleet: WatchedFleet, receiver: str, name: str) -> dict[str, Any]:
    def found() -> list[dict[str, Any]]:
        return fleet.alerts.sent_to(receiver, name)

    return wait_until(found, timeout_s=60, what=f"{name} at {receiver}")[0]
