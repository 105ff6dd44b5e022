"""What is noticed when a service ends; last of all, as the others need it."""

from .scenario import Scenario
from .watched_fleet import Fleet


def test_what_ends_is_noticed(watched: Fleet) -> None:
    Scenario(watched).accounts_ends()

    for alert in ("TargetDown", "ServiceDown"):
        pending = f'ALERTS{{alertname="{alert}", service="accounts", alertstate=~"pending|firing"}}'
        watched.prometheus.wait_for(pending)
    assert watched.prometheus.query('ALERTS{alertname="ServiceDown", service="orders"}') == []
