"""Metrics: name, type, labels and help."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from .source import called, code, constants, modules, nodes, table, text

_KINDS: Final = {
    "counter": "counter",
    "counter_from_zero": "counter",
    "histogram": "histogram",
    "gauge": "gauge",
    "gaugemetricfamily": "gauge",
}
_MODES: Final = {"sum", "min", "max", "mostrecent", "livesum", "livemin", "livemax", "livemostrecent"}
"""Aggregations of a gauge: the third argument of some helpers, which is no label."""
_NOT_EXPOSED: Final = {"probe"}
"""Metrics in a registry of their own, which check the version of prometheus_client."""
_HEAD: Final = """# Metrics

Generated from the source by `just reference`; a test compares it with what running services expose.

Every metric of a counter ends in `_total`, and a histogram has `_bucket`, `_sum` and `_count`.
A metric without a value is not exposed: most appear with the first event that they count.
Prometheus adds `job` and `instance`; [observability](../observability.md) has the queries and alerts.
"""


class Metric(NamedTuple):
    name: str
    kind: str
    labels: tuple[str, ...]
    help: str


def render(root: Path) -> str:
    """Return the page."""
    sections = [_HEAD]
    found: dict[str, dict[str, Metric]] = {}
    for distribution, module in modules(root):
        for metric in metrics_of(module):
            found.setdefault(distribution, {})[metric.name] = metric
    for distribution, metrics in found.items():
        rows = [
            [code(metric.name), metric.kind, ", ".join(map(code, metric.labels)), metric.help]
            for _, metric in sorted(metrics.items())
        ]
        sections.append(f"## {distribution}\n\n{table(['metric', 'type', 'labels', 'meaning'], rows)}")
    return "\n".join(sections)


def metrics_of(module: ast.Module) -> Iterator[Metric]:
    """Yield the metrics that a module creates.

    Names and labels are strings in the call, constants of the module, or values of a loop over literals.
    """
    if not any(_kind(node) for node in nodes(module)):
        return
    names, labels = constants(module), _label_constants(module)
    local = _helper_labels(module)
    for node, values in _calls(module, names):
        name, kind = called(node), _kind(node)
        if kind is None or not node.args or not isinstance(node.func, ast.Name):
            continue
        metric_name = text(node.args[0], values)
        if metric_name is None or metric_name in _NOT_EXPOSED or len(node.args) < 2:
            continue
        help_text = text(node.args[1], values)
        if help_text is None:
            raise SystemExit(f"the help of the metric {metric_name} is no literal: tools/generate/reference")
        if kind == "counter" and not metric_name.endswith("_total"):
            metric_name += "_total"
        yield Metric(metric_name, kind, (*local.get(name, ()), *_labels(node, labels)), help_text)


def _kind(node: ast.AST) -> str | None:
    """Return the type of the metric that a node creates; `None` for other nodes."""
    return _KINDS.get(called(node).lower().removeprefix("_").removeprefix("capped"))


def _calls(node: ast.AST, names: dict[str, str]) -> Iterator[tuple[ast.Call, dict[str, str]]]:
    """Yield calls with the values of names; a call within a loop over literals once for each of them."""
    if isinstance(node, ast.For) and isinstance(node.iter, ast.Tuple) and isinstance(node.target, ast.Tuple):
        for item in node.iter.elts:
            if isinstance(item, ast.Tuple):
                pairs = zip(node.target.elts, item.elts, strict=True)
                bound = {target.id: text(value) for target, value in pairs if isinstance(target, ast.Name)}
                values = names | {name: value for name, value in bound.items() if value is not None}
                for statement in node.body:
                    yield from _calls(statement, values)
        return
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        names = names | _local_strings(node)
    if isinstance(node, ast.Call):
        yield node, names
    for child in ast.iter_child_nodes(node):
        yield from _calls(child, names)


def _local_strings(function: ast.FunctionDef | ast.AsyncFunctionDef) -> dict[str, str]:
    """Return the strings that are assigned to local names."""
    found: dict[str, str] = {}
    for node in ast.walk(function):
        if not isinstance(node, ast.Assign):
            continue
        target, value = node.targets[0], node.value
        targets = target.elts if isinstance(target, ast.Tuple) else [target]
        values = value.elts if isinstance(value, ast.Tuple) else [value]
        for name, assigned in zip(targets, values, strict=False):
            if isinstance(name, ast.Name) and (string := text(assigned)) is not None:
                found[name.id] = string
    return found


def _labels(call: ast.Call, names: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
    given: list[ast.expr] = [*call.args[2:], *(each.value for each in call.keywords if each.arg == "labels")]
    found: list[str] = []
    for node in given:
        if isinstance(node, ast.List | ast.Tuple):
            found += [value for each in node.elts if (value := text(each)) is not None]
        elif isinstance(node, ast.Name):
            found += names.get(node.id, ())
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.append(node.value)
        elif isinstance(node, ast.Call) and called(node) == "list":
            found += names.get(ast.unparse(node.args[0]), ())
        if called(call).endswith("counter_from_zero") and found:
            break
    return tuple(label for label in found if label not in _MODES)


def _label_constants(module: ast.Module) -> dict[str, tuple[str, ...]]:
    """Return tuples of strings by name, and the keys of dictionaries in attributes."""
    found: dict[str, tuple[str, ...]] = {}
    for node in nodes(module):
        if not isinstance(node, ast.Assign | ast.AnnAssign):
            continue
        target = node.targets[0] if isinstance(node, ast.Assign) else node.target
        values: list[Any] = []
        if isinstance(node.value, ast.Tuple | ast.List):
            values = node.value.elts
        elif isinstance(node.value, ast.Dict) and isinstance(target, ast.Attribute):
            values = node.value.keys
        strings = [text(value) for value in values]
        if strings and None not in strings:
            found[ast.unparse(target)] = tuple(each for each in strings if each is not None)
    return found


def _helper_labels(module: ast.Module) -> dict[str, tuple[str, ...]]:
    """Return labels that a function of the module adds to each metric it creates."""
    found: dict[str, tuple[str, ...]] = {}
    for node in module.body:
        if not isinstance(node, ast.FunctionDef) or not node.name.startswith("_"):
            continue
        for inner in ast.walk(node):
            if called(inner).lower() in _KINDS and isinstance(inner, ast.Call) and len(inner.args) > 2:
                labels = inner.args[2]
                if isinstance(labels, ast.List):
                    found[node.name] = tuple(value for each in labels.elts if (value := text(each)))
                elif isinstance(labels, ast.Constant):
                    found[node.name] = (str(labels.value),)
    return found
