"""The alert and recording rules as a PrometheusRule, the resource of Prometheus' operator for Kubernetes."""

from pathlib import Path

import yaml  # type: ignore[import-untyped]  # has no types

_HEAD = "# Written by `just dashboards` from rules/*.yaml: change those.\n"


def files(root: Path) -> dict[Path, str | None]:
    """Return the resource with the groups of all files, by path."""
    stack = root / "deploy" / "observability"
    groups = []
    for path in sorted((stack / "rules").glob("*.yaml")):
        groups += yaml.safe_load(path.read_text("utf-8"))["groups"]
    resource = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "starkeel"},
        "spec": {"groups": groups},
    }
    text = yaml.dump(resource, Dumper=_Dumper, sort_keys=False, width=110, allow_unicode=True)
    return {stack / "kubernetes" / "rules.yaml": f"{_HEAD}{text}"}


class _Dumper(yaml.SafeDumper):  # type: ignore[misc]  # has no types
    """Writes repeated values in full, as not every reader supports aliases, and long texts as blocks."""

    def ignore_aliases(self, data: object) -> bool:
        del data
        return True


def _represent_str(dumper: _Dumper, text: str) -> object:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_str)
