"""Dashboards, from their declaration to Grafana's model."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import Literal, NamedTuple

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.models import dashboard as models

from .panels import PROMETHEUS, Panel, built_panel

_FIRING = 'ALERTS{alertstate="firing", alertname!="Watchdog", service=~"$service"}'


class Dashboard(NamedTuple):
    """A dashboard.

    Attributes:
        uid: Id in links.
        title: Title in Grafana.
        description: The question that it answers.
        rows: Panels by the heading above them.
        services: Whether one service is selected, or several.
    """

    uid: str
    title: str
    description: str
    rows: Mapping[str, Sequence[Panel]]
    services: Literal["one", "several"] = "several"


def built(declared: Dashboard) -> models.Dashboard:
    """Return Grafana's model of a dashboard."""
    others = build.DashboardLink("Others").type(models.DashboardLinkType.DASHBOARDS).tags(["starkeel"])
    dashboard = (
        build.Dashboard(declared.title)
        .uid(declared.uid)
        .description(declared.description)
        .tags(["starkeel"])
        .readonly()
        .timezone("browser")
        .time("now-1h", "now")
        .refresh("30s")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .link(others.as_dropdown(True).include_vars(True).keep_time(True))
    )
    for variable in _variables(declared):
        dashboard.with_variable(variable)
    ids = count(1)
    for title, panels in declared.rows.items():
        dashboard.with_row(build.Row(title).id(next(ids)))
        for panel in panels:
            dashboard.with_panel(built_panel(panel, next(ids)))
    model = dashboard.build()
    model.annotations.list_val = [
        models.AnnotationQuery(name="Alerts", datasource=PROMETHEUS, icon_color="red", expr=_FIRING)
    ]
    return model


def _variables(declared: Dashboard) -> Iterator[build.QueryVariable]:
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
        if name == "instance" or declared.services == "several":
            everything = models.VariableOption(selected=True, text="All", value="$__all")
            variable.multi(True).include_all(True).all_value(".*").current(everything)
        yield variable
