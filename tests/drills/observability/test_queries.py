"""Queries of dashboards, rules and runbooks, run by Prometheus after the scenario."""

import math

import pytest
from starkeel_testing import wait_until

from .queries import (
    RUN,
    LocatedQuery,
    dashboard_queries,
    is_about_work,
    names,
    rule_queries,
    runbook_queries,
    service_queries,
)
from .watched_fleet import WatchedFleet

_QUERIES = [
    *dashboard_queries("prometheus"),
    *(query for name in RUN for query in service_queries(name)),
    *rule_queries(),
]
_RUNBOOK_QUERIES = runbook_queries()


@pytest.mark.parametrize("query", _QUERIES, ids=[query.where for query in _QUERIES])
def test_a_query_has_data(watched: WatchedFleet, query: LocatedQuery) -> None:
    def found() -> list[float]:
        values = [float(series["value"][1]) for series in watched.prometheus.query(query.expr)]
        return [value for value in values if math.isfinite(value)]

    values = wait_until(found, timeout_s=30, what=query.expr)

    assert len(values) > 0


@pytest.mark.parametrize("query", _RUNBOOK_QUERIES, ids=[query.where for query in _RUNBOOK_QUERIES])
def test_a_query_of_a_runbook_is_valid(watched: WatchedFleet, query: LocatedQuery) -> None:
    assert watched.prometheus.tried(query.expr)["status"] == "success"


def test_every_metric_is_exported(watched: WatchedFleet) -> None:
    queries = [*_QUERIES, *(query for query in _RUNBOOK_QUERIES if not is_about_work(query))]
    used = {name for query in queries for name in names(query.expr)}
    assert len(used) > 50
    assert used - set(watched.prometheus.get("/label/__name__/values")) == set()


def test_no_rule_fails(watched: WatchedFleet) -> None:
    groups = watched.prometheus.get("/rules")["groups"]
    errors = {rule["name"]: rule.get("lastError") for group in groups for rule in group["rules"]}
    assert len(errors) > 40
    assert not [f"{name}: {error}" for name, error in errors.items() if error]
