"""One panel of a dashboard, from what it shows."""

from collections.abc import Iterator, Mapping, Sequence
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

PROMETHEUS = models.DataSourceRef(type_val="prometheus", uid="prometheus")
LOKI = models.DataSourceRef(type_val="loki", uid="loki")
TEMPO = models.DataSourceRef(type_val="tempo", uid="tempo")

Kind = Literal["lines", "stack", "number", "table", "heat", "logs", "traces"]
_Panel = timeseries.Panel | stat.Panel | table.Panel | heatmap.Panel | logs.Panel


class Query(NamedTuple):
    """A query, in the language of the source.

    Attributes:
        expr: The query.
        legend: What its series, or its column, are called.
        unit: By Grafana's name, where it is another than the panel's.
    """

    expr: str
    legend: str = ""
    unit: str = ""


class View(NamedTuple):
    """What a panel shows.

    Attributes:
        title: Of the panel.
        about: What it shows, and what is wrong when it looks wrong.
        queries: What is asked; of Prometheus unless the kind is logs or traces.
        kind: What it looks like.
        unit: By Grafana's name.
        width: Of 24.
        height: In units of Grafana's.
        limits: From which value on it is yellow, and red.
        exemplars: Whether single requests are shown, which link to their traces.
        links: Of a table, where the values of a column lead.
    """

    title: str
    about: str
    queries: Sequence[Query]
    kind: Kind = "lines"
    unit: str = "short"
    width: int = 8
    height: int = 8
    limits: tuple[float, float] | None = None
    exemplars: bool = False
    links: Mapping[str, str] = MappingProxyType({})


def panel(view: View, number: int) -> Builder[models.Panel]:
    """Return the panel of a view.

    Args:
        view: What it shows.
        number: Its id on its dashboard.
    """
    made = _of_kind(view).id(number).title(view.title).description(view.about)
    made.span(view.width).height(view.height)
    if view.limits is not None:
        made.thresholds(_thresholds(view.limits))
    return made


def _of_kind(view: View) -> _Panel:
    match view.kind:
        case "lines" | "stack":
            return _lines(view)
        case "number":
            return _number(view)
        case "table":
            return _table(view)
        case "heat":
            return _heat(view)
        case "logs":
            return _logs(view)
        case "traces":
            return _traces(view)


def _lines(view: View) -> timeseries.Panel:
    legend = parts.VizLegendOptions().display_mode(shapes.LegendDisplayMode.LIST).show_legend(True)
    tooltip = parts.VizTooltipOptions().mode(shapes.TooltipDisplayMode.MULTI)
    made = (
        timeseries.Panel()
        .datasource(PROMETHEUS)
        .unit(view.unit)
        .min(0)
        .fill_opacity(10)
        .show_points(shapes.VisibilityMode.NEVER)
        .legend(legend.placement(shapes.LegendPlacement.BOTTOM))
        .tooltip(tooltip.sort(shapes.SortOrder.DESCENDING))
        .targets(list(_asked(view)))
    )
    if view.kind == "stack":
        made.stacking(parts.StackingConfig().mode(shapes.StackingMode.NORMAL)).fill_opacity(30)
    if view.limits is not None:
        line = shapes.GraphThresholdsStyleMode.LINE
        made.thresholds_style(parts.GraphThresholdsStyleConfig().mode(line))
    return made


def _number(view: View) -> stat.Panel:
    return (
        stat.Panel()
        .datasource(PROMETHEUS)
        .unit(view.unit)
        .graph_mode(shapes.BigValueGraphMode.AREA)
        .color_mode(shapes.BigValueColorMode.VALUE)
        .reduce_options(parts.ReduceDataOptions().calcs(["lastNotNull"]))
        .targets(list(_asked(view)))
    )


def _table(view: View) -> table.Panel:
    made = table.Panel().datasource(PROMETHEUS).unit(view.unit).filterable(True)
    made.targets([one.instant().format(PromQueryFormat.TABLE) for one in _asked(view)])
    # Rows of several queries become one where their labels are the same.
    made.with_transformation(models.DataTransformerConfig(id_val="merge", options={}))
    hidden = {"excludeByName": {"Time": True}}
    made.with_transformation(models.DataTransformerConfig(id_val="organize", options=hidden))
    for letter, query in zip(_LETTERS, view.queries, strict=False):
        column = "Value" if len(view.queries) == 1 else f"Value #{letter}"
        properties = [models.DynamicConfigValue("displayName", query.legend)]
        if query.unit:
            properties.append(models.DynamicConfigValue("unit", query.unit))
        made.override_by_name(column, properties)
    for column, url in view.links.items():
        link = {"title": "Open", "url": url, "targetBlank": True}
        made.override_by_name(column, [models.DynamicConfigValue("links", [link])])
    return made


def _heat(view: View) -> heatmap.Panel:
    made = heatmap.Panel().datasource(PROMETHEUS).calculate(False)
    made.y_axis(heatmap.YAxisConfig().unit(view.unit))
    return made.targets([one.format(PromQueryFormat.HEATMAP) for one in _asked(view)])


def _logs(view: View) -> logs.Panel:
    made = logs.Panel().datasource(LOKI).show_time(True).wrap_log_message(True).enable_log_details(True)
    made.sort_order(shapes.LogsSortOrder.DESCENDING)
    for letter, query in zip(_LETTERS, view.queries, strict=False):
        made.with_target(loki.Dataquery().datasource(LOKI).ref_id(letter).expr(query.expr).max_lines(200))
    return made


def _traces(view: View) -> table.Panel:
    made = table.Panel().datasource(TEMPO)
    for letter, query in zip(_LETTERS, view.queries, strict=False):
        search = tempo.TempoQuery().datasource(TEMPO).ref_id(letter).query_type("traceql").query(query.expr)
        made.with_target(search.limit(20).table_type(SearchTableType.TRACES))
    return made


_LETTERS = "ABCDEFGH"


def _asked(view: View) -> Iterator[prometheus.Dataquery]:
    for letter, query in zip(_LETTERS, view.queries, strict=False):
        asked = prometheus.Dataquery().datasource(PROMETHEUS).ref_id(letter).expr(query.expr)
        yield asked.legend_format(query.legend).exemplar(view.exemplars)


def _thresholds(limits: tuple[float, float]) -> build.ThresholdsConfig:
    yellow, red = limits
    steps = [
        models.Threshold(None, "green"),
        models.Threshold(yellow, "yellow"),
        models.Threshold(red, "red"),
    ]
    return build.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps)
