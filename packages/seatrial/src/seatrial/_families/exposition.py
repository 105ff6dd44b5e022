"""Prometheus's text format and OpenMetrics."""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_QUOTED = r'"(?:[^"\\\n]|\\.)*"'
_SAMPLE = re.compile(
    rf"({_NAME})(?:\{{((?:[^\"}}]|{_QUOTED})*)\}})?[ \t]+(\S+)(?:[ \t]+(-?[0-9.]+))?(?:[ \t]+#[ \t].*)?[ \t]*"
)
_LABEL = re.compile(r'\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*=\s*"((?:[^"\\\n]|\\["\\n])*)"\s*(?:,|$)')
_TYPE = re.compile(rf"# TYPE ({_NAME})[ \t]+(\w+)[ \t]*")
_TYPES = {
    "counter", "gauge", "histogram", "summary", "untyped", "unknown", "info", "stateset", "gaugehistogram",
}  # fmt: skip
_ESCAPES = {"n": "\n", '"': '"', "\\": "\\"}


class FormatError(ValueError):
    """A line that is not in the format."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A sample.

    Attributes:
        name: Name, with suffixes such as `_bucket`.
        labels: Labels.
        value: Value.
    """

    name: str
    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True, slots=True)
class Exposition:
    """Everything in a response.

    Attributes:
        types: Type of each metric family.
        samples: All samples.
    """

    types: Mapping[str, str]
    samples: tuple[Sample, ...]

    def named(self, name: str) -> Iterator[Sample]:
        """Yield the samples of a name."""
        return (sample for sample in self.samples if sample.name == name)


def parse(text: str) -> Exposition:
    """Return the metrics.

    Raises:
        FormatError: A line is not in the format, or a series is repeated.
    """
    types: dict[str, str] = {}
    samples: list[Sample] = []
    series: set[tuple[str, frozenset[tuple[str, str]]]] = set()
    for number, line in enumerate(text.split("\n"), start=1):
        if line.startswith("# TYPE "):
            match = _TYPE.fullmatch(line)
            if match is None or match[2] not in _TYPES or match[1] in types:
                raise FormatError(f"line {number}: {line[:120]!r} is not a type, or a second one")
            types[match[1]] = match[2]
        elif line.strip() and not line.startswith("#"):
            sample = _sample(line, number)
            key = sample.name, frozenset(sample.labels.items())
            if key in series:
                raise FormatError(f"line {number}: a second sample of {line[:120]!r}")
            series.add(key)
            samples.append(sample)
    if text and not text.endswith("\n"):
        raise FormatError("the last line does not end with a line feed")
    return Exposition(types, tuple(samples))


def _sample(line: str, number: int) -> Sample:
    match = _SAMPLE.fullmatch(line)
    if match is None:
        raise FormatError(f"line {number}: {line[:120]!r} is not a sample")
    try:
        value = float(match[3])
    except ValueError:
        raise FormatError(f"line {number}: {match[3]!r} is not a number") from None
    return Sample(match[1], _labels(match[2] or "", number), value)


def _labels(text: str, number: int) -> dict[str, str]:
    labels: dict[str, str] = {}
    position = 0
    while position < len(text):
        match = _LABEL.match(text, position)
        if match is None or match[1] in labels:
            raise FormatError(f"line {number}: {text[position : position + 80]!r} is not a label")
        labels[match[1]] = re.sub(r"\\(.)", lambda escape: _ESCAPES.get(escape[1], escape[0]), match[2])
        position = match.end()
    return labels


def buckets(exposition: Exposition, family: str) -> list[list[float]]:
    """Return the bounds of each histogram of a family, in the order of the text."""
    found: dict[frozenset[tuple[str, str]], list[float]] = {}
    for sample in exposition.named(f"{family}_bucket"):
        labels = frozenset(pair for pair in sample.labels.items() if pair[0] != "le")
        try:
            bound = float(sample.labels.get("le", ""))
        except ValueError:
            bound = math.nan
        found.setdefault(labels, []).append(bound)
    return list(found.values())
