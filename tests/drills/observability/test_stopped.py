"""Alerts for a stopped service; this file runs last, as the others need the service."""

from .scenario import Scenario
from .watched_fleet import WatchedFleet


def test_a_stopped_service_causes_alerts(watched: WatchedFleet) -> None:
    Scenario(watched).stop_accounts()

    for alert in ("TargetDown", "ServiceDown"):
        pending = f'ALERTS{{alertname="{alert}", service="accounts", alertstate=~"pending|firing"}}'
        watched.prometheus.wait_for(pending)
    assert watched.prometheus.query('ALERTS{alertname="ServiceDown", service="orders"}') == []
