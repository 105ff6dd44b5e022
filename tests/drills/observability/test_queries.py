"""Every query of every dashboard and rule, put to a Prometheus that has seen it all happen."""

import math

import pytest
from starkeel_testing import wait_until

from .queries import Asked, asked_by_dashboards, asked_by_rules, names, quoted_by_runbooks
from .watched_fleet import Fleet

_ASKED = [*asked_by_dashboards("prometheus"), *asked_by_rules()]
_QUOTED = quoted_by_runbooks()


@pytest.mark.parametrize("asked", _ASKED, ids=[asked.where for asked in _ASKED])
def test_it_has_data(watched: Fleet, asked: Asked) -> None:
    def found() -> list[float]:
        values = [float(series["value"][1]) for series in watched.prometheus.query(asked.expr)]
        return [value for value in values if math.isfinite(value)]

    values = wait_until(found, timeout_s=30, what=asked.expr)

    assert len(values) > 0


@pytest.mark.parametrize("asked", _QUOTED, ids=[asked.where for asked in _QUOTED])
def test_what_a_runbook_quotes_can_be_asked(watched: Fleet, asked: Asked) -> None:
    assert watched.prometheus.tried(asked.expr)["status"] == "success"


def test_every_name_is_exported(watched: Fleet) -> None:
    asked = {name for one in [*_ASKED, *_QUOTED] for name in names(one.expr)}
    assert len(asked) > 50
    assert asked - set(watched.prometheus.get("/label/__name__/values")) == set()


def test_no_rule_fails(watched: Fleet) -> None:
    groups = watched.prometheus.get("/rules")["groups"]
    told = {rule["name"]: rule.get("lastError") for group in groups for rule in group["rules"]}
    assert len(told) > 40
    assert not [f"{name}: {error}" for name, error in told.items() if error]
