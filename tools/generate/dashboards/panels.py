"""Panels of a dashboard, from their declaration to Grafana's model."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Literal, NamedTuple

from grafana_foundation_sdk.builders import common as parts
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.builders import heatmap, logs, loki, prometheus, stat, table, tempo, timeseries
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import common as shapes
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat
from grafana_foundation_sdk.models.tempo import SearchTableType

from .queries import Query

PROMETHEUS = models.DataSourceRef(type_val="prometheus", uid="prometheus")
LOKI = models.DataSourceRef(type_val="loki", uid="loki")
TEMPO = models.DataSourceRef(type_val="tempo", uid="tempo")

Kind = Literal["lines", "stack", "number", "table", "heat", "logs", "traces"]
_Panel = timeseries.Panel | stat.Panel | table.Panel | heatmap.Panel | logs.Panel


class Panel(NamedTuple):
    """A panel.

    Attributes:
        description: What it shows, and what an unusual value means.
        queries: For Prometheus, or for Loki and Tempo by the kind.
        kind: Form of the panel.
        unit: Grafana's name of the unit.
        width: Of 24 columns.
        height: In Grafana's grid units.
        limits: Values from which it is yellow and red; below which, if the second is the lower one.
        exemplars: Whether to show exemplars, which link to traces.
        links: URLs by column of a table.
    """

    title: str
    description: str
    queries: Sequence[Query]
    kind: Kind = "lines"
    unit: str = "short"
    width: int = 8
    height: int = 8
    limits: tuple[float, float] | None = None
    exemplars: bool = False
    links: Mapping[str, str] = MappingProxyType({})


def built_panel(panel: Panel, number: int) -> Builder[models.Panel]:
    """Return Grafana's builder of a panel; the number is its id on the dashboard."""
    made = _BUILDERS[panel.kind](panel).id(number).title(panel.title).description(panel.description)
    made.span(panel.width).height(panel.height)
    if panel.limits is not None:
        colours = ["green", "yellow", "red"]
        if panel.limits[1] < panel.limits[0]:
            colours.reverse()
        values = (None, *sorted(panel.limits))
        steps = [models.Threshold(value, colour) for value, colour in zip(values, colours, strict=True)]
        made.thresholds(build.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps))
    return made


def _lines(panel: Panel) -> timeseries.Panel:
    legend = parts.VizLegendOptions().display_mode(shapes.LegendDisplayMode.LIST).show_legend(True)
    tooltip = parts.VizTooltipOptions().mode(shapes.TooltipDisplayMode.MULTI)
    made = (
        timeseries.Panel()
        .datasource(PROMETHEUS)
        .unit(panel.unit)
        .min(0)
        .fill_opacity(10)
        .show_points(shapes.VisibilityMode.NEVER)
        .legend(legend.placement(shapes.LegendPlacement.BOTTOM))
        .tooltip(tooltip.sort(shapes.SortOrder.DESCENDING))
        .targets(list(_targets(panel)))
    )
    if panel.kind == "stack":
        made.stacking(parts.StackingConfig().mode(shapes.StackingMode.NORMAL)).fill_opacity(30)
    if panel.limits is not None:
        line = shapes.GraphThresholdsStyleMode.LINE
        made.thresholds_style(parts.GraphThresholdsStyleConfig().mode(line))
    return made


def _number(panel: Panel) -> stat.Panel:
    return (
        stat.Panel()
        .datasource(PROMETHEUS)
        .unit(panel.unit)
        .graph_mode(shapes.BigValueGraphMode.AREA)
        .color_mode(shapes.BigValueColorMode.VALUE)
        .reduce_options(parts.ReduceDataOptions().calcs(["lastNotNull"]))
        .targets(list(_targets(panel)))
    )


def _table(panel: Panel) -> table.Panel:
    made = table.Panel().datasource(PROMETHEUS).unit(panel.unit).filterable(True)
    made.targets([target.instant().format(PromQueryFormat.TABLE) for target in _targets(panel)])
    # Rows of several queries with the same labels are merged.
    made.with_transformation(models.DataTransformerConfig(id_val="merge", options={}))
    hidden = {"excludeByName": {"Time": True}}
    made.with_transformation(models.DataTransformerConfig(id_val="organize", options=hidden))
    for letter, query in zip(_LETTERS, panel.queries, strict=False):
        column = "Value" if len(panel.queries) == 1 else f"Value #{letter}"
        properties = [models.DynamicConfigValue("displayName", query.legend)]
        if query.unit:
            properties.append(models.DynamicConfigValue("unit", query.unit))
        made.override_by_name(column, properties)
    for column, url in panel.links.items():
        link = {"title": "Open", "url": url, "targetBlank": True}
        made.override_by_name(column, [models.DynamicConfigValue("links", [link])])
    return made


def _heat(panel: Panel) -> heatmap.Panel:
    made = heatmap.Panel().datasource(PROMETHEUS).calculate(False)
    made.y_axis(heatmap.YAxisConfig().unit(panel.unit))
    return made.targets([target.format(PromQueryFormat.HEATMAP) for target in _targets(panel)])


def _logs(panel: Panel) -> logs.Panel:
    made = logs.Panel().datasource(LOKI).show_time(True).wrap_log_message(True).enable_log_details(True)
    made.sort_order(shapes.LogsSortOrder.DESCENDING)
    for letter, query in zip(_LETTERS, panel.queries, strict=False):
        made.with_target(loki.Dataquery().datasource(LOKI).ref_id(letter).expr(query.expr).max_lines(200))
    return made


def _traces(panel: Panel) -> table.Panel:
    made = table.Panel().datasource(TEMPO)
    for letter, query in zip(_LETTERS, panel.queries, strict=False):
        search = tempo.TempoQuery().datasource(TEMPO).ref_id(letter).query_type("traceql").query(query.expr)
        made.with_target(search.limit(20).table_type(SearchTableType.TRACES))
    return made


_LETTERS = "ABCDEFGH"


def _targets(panel: Panel) -> Iterator[prometheus.Dataquery]:
    for letter, query in zip(_LETTERS, panel.queries, strict=False):
        target = prometheus.Dataquery().datasource(PROMETHEUS).ref_id(letter).expr(query.expr)
        yield target.legend_format(query.legend).exemplar(panel.exemplars)


_BUILDERS: Mapping[Kind, Callable[[Panel], _Panel]] = {
    "lines": _lines,
    "stack": _lines,
    "number": _number,
    "table": _table,
    "heat": _heat,
    "logs": _logs,
    "traces": _traces,
}
