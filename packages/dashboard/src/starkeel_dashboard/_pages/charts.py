"""Series of one metric as lines of an SVG."""

import math
from collections.abc import Iterable
from itertools import groupby
from typing import Final

import msgspec

from .._store.metrics import QUANTILES, Series

WIDTH: Final = 320
HEIGHT: Final = 72
_MAX_LINES: Final = 6


class Line(msgspec.Struct):
    """A line of a chart."""

    label: str
    points: str
    """Value of the attribute `points`."""
    latest: float


class Chart(msgspec.Struct):
    """The series of a metric of a service."""

    service: str
    name: str
    description: str
    measure: str
    """Name of the drawn figure: the value, the rate or quantiles."""
    lines: list[Line]
    hidden: int
    """Number of series that are not drawn."""
    highest: float
    since_s: float


def charts(series: Iterable[Series]) -> Iterable[Chart]:
    """Yield a chart for each metric of each service.

    Args:
        series: Series, those of a metric next to each other.
    """
    for (service, name), group in groupby(series, key=lambda each: (each.service, each.name)):
        members = sorted(group, key=lambda each: -each.latest)
        lines = [line for each in members[:_MAX_LINES] for line in _columns(each)]
        first = members[0]
        finite = [value for _, values, _ in lines for value in values if math.isfinite(value)]
        highest, lowest = max(finite, default=0.0), min([0.0, *finite])
        times = [time for _, _, series_times in lines for time in series_times]
        start, end = min(times, default=0.0), max(times, default=0.0)
        yield Chart(
            service,
            name,
            first.description,
            {"gauge": "value", "counter": "per second", "histogram": "p50, p95, p99"}[first.kind],
            [
                Line(label, _points(series_times, values, (start, end), (lowest, highest)), _last(values))
                for label, values, series_times in lines[:_MAX_LINES]
            ],
            max(0, len(members) - _MAX_LINES),
            highest,
            start,
        )


def _columns(series: Series) -> list[tuple[str, list[float], list[float]]]:
    """Return label, values and times of what is drawn of a series."""
    label = ", ".join(f"{name}={value}" for name, value in series.labels)
    times = list(series.times)
    if series.kind != "histogram":
        return [(label or "all", list(series.columns[0]), times)]
    return [
        (" ".join(part for part in (label, f"p{share * 100:.0f}") if part), list(column), times)
        for share, column in zip(QUANTILES, series.columns[1:], strict=True)
    ]


def _last(values: list[float]) -> float:
    return values[-1] if values else 0.0


def _points(
    times: list[float], values: list[float], span: tuple[float, float], limits: tuple[float, float]
) -> str:
    whole_s, (lowest, highest) = max(1e-9, span[1] - span[0]), limits
    height = (highest - lowest) or 1.0
    places = [
        (WIDTH * (time - span[0]) / whole_s, HEIGHT - 2 - (HEIGHT - 4) * (value - lowest) / height)
        for time, value in zip(times, values, strict=True)
        if math.isfinite(value)
    ]
    if len(places) == 1:
        places.insert(0, (0.0, places[0][1]))
        places[1] = (float(WIDTH), places[1][1])
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
