"""What Grafana's dashboards are made of: rows of views, each with its queries."""

from collections.abc import Iterator, Sequence
from itertools import count
from typing import Literal, NamedTuple

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.models import dashboard as models

from .panels import PROMETHEUS, Kind, Query, View, panel

__all__ = ["SELECTED", "Board", "Kind", "Query", "Row", "View", "made"]

SELECTED = 'service=~"$service", instance=~"$instance"'
"""What the variables of every dashboard select."""
_FIRING = 'ALERTS{alertstate="firing", alertname!="Watchdog", service=~"$service"}'


class Row(NamedTuple):
    """Views under one heading."""

    title: str
    views: Sequence[View]


class Board(NamedTuple):
    """A dashboard.

    Attributes:
        uid: What it is known by in links.
        title: What it is known by to people.
        about: What it answers.
        services: Whether one service is looked at, or several.
        rows: What is on it.
    """

    uid: str
    title: str
    about: str
    services: Literal["one", "several"]
    rows: Sequence[Row]


def made(board: Board) -> models.Dashboard:
    """Return a dashboard as Grafana has it."""
    others = build.DashboardLink("Others").type(models.DashboardLinkType.DASHBOARDS).tags(["starkeel"])
    dashboard = (
        build.Dashboard(board.title)
        .uid(board.uid)
        .description(board.about)
        .tags(["starkeel"])
        .readonly()
        .timezone("browser")
        .time("now-1h", "now")
        .refresh("30s")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .link(others.as_dropdown(True).include_vars(True).keep_time(True))
    )
    for variable in _variables(board):
        dashboard.with_variable(variable)
    ids = count(1)
    for row in board.rows:
        dashboard.with_row(build.Row(row.title).id(next(ids)))
        for view in row.views:
            dashboard.with_panel(panel(view, next(ids)))
    finished = dashboard.build()
    finished.annotations.list_val = [
        models.AnnotationQuery(name="Alerts", datasource=PROMETHEUS, icon_color="red", expr=_FIRING)
    ]
    return finished


def _variables(board: Board) -> Iterator[build.QueryVariable]:
    queries = {
        "service": "label_values(starkeel_build_info, service)",
        "instance": 'label_values(starkeel_build_info{service=~"$service"}, instance)',
    }
    for name, query in queries.items():
        variable = (
            build.QueryVariable(name)
            .query(query)
            .datasource(PROMETHEUS)
            .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
            .sort(models.VariableSort.ALPHABETICAL_ASC)
        )
        if name == "instance" or board.services == "several":
            everything = models.VariableOption(selected=True, text="All", value="$__all")
            variable.multi(True).include_all(True).all_value(".*").current(everything)
        yield variable
