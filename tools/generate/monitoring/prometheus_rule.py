"""The alert and recording rules as a PrometheusRule, the resource of Prometheus' operator for Kubernetes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]  # has no types

from ...registry import RegistryError
from .yaml_text import dumped

_HEAD = "# Written by `just dashboards` from rules/*.yaml and rules/team/*.yaml: change those.\n"


def files(root: Path, generated: Mapping[Path, str | None]) -> dict[Path, str | None]:
    """Return the resource with the groups of all files, by path.

    Args:
        root: The workspace.
        generated: Files of rules that are generated.

    Raises:
        RegistryError: A file has no groups, or a group that another file has.
    """
    stack = root / "deploy" / "observability"
    paths = {*(stack / "rules").glob("*.yaml"), *generated}
    groups: list[Any] = []
    for path in [*sorted(paths), *sorted((stack / "rules" / "team").glob("*.yaml"))]:
        text = generated[path] if path in generated else path.read_text("utf-8")
        if text is not None:
            groups += _groups(path.relative_to(root), text, groups)
    resource = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "starkeel"},
        "spec": {"groups": groups},
    }
    return {stack / "kubernetes" / "rules.yaml": f"{_HEAD}{dumped(resource)}"}


def _groups(path: Path, text: str, others: list[Any]) -> list[Any]:
    try:
        found = yaml.safe_load(text)
        groups = list(found["groups"])
        names = [group["name"] for group in groups]
    except (yaml.YAMLError, TypeError, KeyError) as error:
        raise RegistryError(
            f"{path}: is not a file of rules: it needs `groups` with a `name` each: {error!r}"
        ) from error
    for name in names:
        if names.count(name) > 1 or name in [group["name"] for group in others]:
            raise RegistryError(f"{path}: the group {name!r} exists twice: rename it")
    return groups
