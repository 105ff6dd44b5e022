"""Queries of dashboards, rules and runbooks, split into parts that must have data."""

import json
import re
from collections.abc import Container, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import yaml

from tools.registry import Service, read, upstreams

from .stack_processes import ROOT, STACK

_THRESHOLD = re.compile(r"\s*(?:==|!=|>=|<=|>|<)\s*[\d.eE+-]+\s*$")
_ON = r"\s+(?:on|ignoring)\s*\([^)]*\)"
# A comparison with another query is split as well: both must have data.
_OPERATOR = re.compile(rf"\b(?:and|or|unless)\b(?:{_ON})?|(?:==|!=|>=|<=|>|<){_ON}")
RUN = ("accounts", "orders")
"""Services that the scenario runs and sends requests to."""
_VARIABLES = {
    "$service": "|".join(RUN),
    "$instance": ".*",
    # The whole drill, so that an event that happened only once is included.
    "$__rate_interval": "5m",
    "$__interval": "5m",
    "$__range": "5m",
}
_LABEL_VALUES = re.compile(r"label_values\((?P<series>.*),\s*(?P<label>\w+)\)")


class LocatedQuery(NamedTuple):
    """A query and its location."""

    where: str
    expr: str


def dashboards() -> list[dict[str, Any]]:
    return [json.loads(path.read_text("utf-8")) for path in (STACK / "grafana/dashboards").glob("*.json")]


def groups() -> list[dict[str, Any]]:
    """Return all groups of rules."""
    found = []
    for path in sorted((STACK / "rules").glob("*.yaml")):
        found += yaml.safe_load(path.read_text("utf-8"))["groups"]
    return found


def rules(kind: str) -> list[dict[str, Any]]:
    """Return the rules of a kind, `alert` or `record`."""
    return [rule for group in groups() for rule in group["rules"] if kind in rule]


def dashboard_queries(source: str) -> list[LocatedQuery]:
    """Return the queries of all panels, annotations and variables for a data source.

    Panels that other services than those of the scenario declare are left out: they have no data.
    """
    others = {panel.title for service in read() if service.name not in RUN for panel in service.panels}
    found = [query for board in dashboards() for query in _board_queries(board, others)]
    return [query for query in found if query.where.startswith(source) and not is_about_work(query)]


def service_queries(name: str) -> list[LocatedQuery]:
    """Return the queries of the dashboard of one service, without those about parts that it lacks."""
    services = read()
    (service,) = [each for each in services if each.name == name]
    (board,) = [board for board in dashboards() if board["uid"] == "starkeel-service"]
    found = _board_queries(board, _missing(board, service, services), {"$service": name})
    return [LocatedQuery(f"{name}: {where}", expr) for where, expr in found if where.startswith("prometheus")]


def _missing(board: dict[str, Any], service: Service, services: list[Service]) -> set[str]:
    """Return the titles of panels that stay empty for a service, and of annotations that may."""
    titles, row = {annotation["name"] for annotation in board["annotations"]["list"]}, ""
    for panel in board["panels"]:
        row = panel["title"] if panel["type"] == "row" else row
        if row.startswith("Upstreams") and not upstreams(service, services):
            titles.add(panel["title"])
        if panel["title"].startswith("Database") and "database" not in service.needs:
            titles.add(panel["title"])
    return titles


def rule_queries() -> list[LocatedQuery]:
    """Return the recorded expressions, and the operands of alerts without their thresholds."""
    found = [LocatedQuery(rule["record"], rule["expr"]) for rule in rules("record")]
    found += [LocatedQuery(rule["record"], rule["record"]) for rule in rules("record")]
    for rule in rules("alert"):
        found += [LocatedQuery(rule["alert"], part) for part in operands(rule["expr"])]
    return [query for query in found if not is_about_work(query)]


def queries_of_work() -> list[LocatedQuery]:
    """Return the queries of dashboards, rules and runbooks about work."""
    found = [query for board in dashboards() for query in _board_queries(board, ())]
    for rule in rules("alert"):
        found += [LocatedQuery(rule["alert"], part) for part in operands(rule["expr"])]
    return [query for query in [*found, *runbook_queries()] if is_about_work(query)]


def is_about_work(query: LocatedQuery) -> bool:
    """Return whether a query is about jobs, consumers or workers, which `just drill jobs` runs."""
    is_metric = any(name.startswith(("job_", "jobs_", "consumer_")) for name in names(query.expr))
    return is_metric or 'role="worker"' in query.expr


def runbook_queries() -> list[LocatedQuery]:
    """Return the queries in runbooks, one per line."""
    found = []
    for path in sorted((ROOT / "docs/runbooks").glob("*.md")):
        for block in re.findall(r"```promql\n(.*?)```", path.read_text("utf-8"), re.DOTALL):
            found += [LocatedQuery(path.stem, line) for line in block.splitlines()]
    return found


def operands(expr: str) -> list[str]:
    """Return the operands of `and`, `or`, `unless` and comparisons, without their thresholds."""
    expr = expr.strip()
    while _is_enclosed(expr):
        expr = expr[1:-1].strip()
    parts = _split(expr)
    if len(parts) > 1:
        return [found for part in parts for found in operands(part)]
    bare = _THRESHOLD.sub("", expr)
    return [bare] if bare == expr else operands(bare)


def names(expr: str) -> set[str]:
    """Return the names of metrics in a query."""
    bare = re.sub(r'"[^"]*"', '""', expr)
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]", " ", bare)
    bare = re.sub(r"\b(?:by|on|ignoring|without|group_left|group_right)\s*\([^)]*\)", " ", bare)
    found = set(re.findall(r"[a-zA-Z_:][\w:]*(?!\s*\()\b", bare))
    functions = set(re.findall(r"([a-zA-Z_:][\w:]*)\s*\(", bare))
    return found - functions - {"and", "or", "unless", "bool", "offset"}


def filled(expr: str, variables: Mapping[str, str] = _VARIABLES) -> str:
    """Return a query with Grafana's variables filled in, the longest names first."""
    for name in sorted(variables, key=len, reverse=True):
        expr = expr.replace(name, variables[name])
    return expr


def _board_queries(
    board: dict[str, Any], without: Container[str], variables: Mapping[str, str] = MappingProxyType({})
) -> Iterator[LocatedQuery]:
    values = _VARIABLES | dict(variables)
    for panel in board["panels"]:
        for target in panel.get("targets", []) if panel["title"] not in without else []:
            source = target["datasource"]["type"]
            expr = filled(target.get("expr") or target["query"], values)
            yield LocatedQuery(f"{source}: {board['title']}, {panel['title']}, {target['refId']}", expr)
    for annotation in board["annotations"]["list"]:
        if annotation["name"] not in without:
            where = f"prometheus: {board['title']}, {annotation['name']}"
            yield LocatedQuery(where, filled(annotation["expr"], values))
    for variable in board["templating"]["list"]:
        found = _LABEL_VALUES.fullmatch(variable["query"])
        assert found is not None, variable["query"]
        series = f"group by ({found['label']}) ({found['series']})"
        yield LocatedQuery(f"prometheus: {board['title']}, ${variable['name']}", filled(series, values))


def _is_enclosed(expr: str) -> bool:
    """Return whether the first bracket is closed by the last."""
    if not (expr.startswith("(") and expr.endswith(")")):
        return False
    return all(depth > 0 for depth in _depths(expr)[:-1])


def _split(expr: str) -> list[str]:
    depths = _depths(expr)
    parts, begin = [], 0
    for found in _OPERATOR.finditer(expr):
        if depths[found.start()] == 0:
            parts.append(expr[begin : found.start()])
            begin = found.end()
    return [*parts, expr[begin:]]


def _depths(expr: str) -> list[int]:
    depths, depth, is_text = [], 0, False
    for letter in expr:
        if letter == '"':
            is_text = not is_text
        if not is_text:
            depth += (letter in "({[") - (letter in ")}]")
        # Quoted text contains no operators.
        depths.append(depth + is_text)
    return depths
