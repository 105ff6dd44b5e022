"""Write the rules as a PrometheusRule, the resource of Prometheus' operator for Kubernetes, or check it.

python -m tools.generate.prometheus_rule           write it
python -m tools.generate.prometheus_rule --check   exit with 1 if it is stale
"""

import sys

import yaml  # type: ignore[import-untyped]  # has no types

from ..workspace import ROOT
from .files import parser, write

STACK = ROOT / "deploy" / "observability"
_HEAD = "# Written by `just dashboards` from rules/*.yaml: change those.\n"


def rendered() -> str:
    """Return the resource with the groups of all files."""
    groups = []
    for path in sorted((STACK / "rules").glob("*.yaml")):
        groups += yaml.safe_load(path.read_text("utf-8"))["groups"]
    resource = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "starkeel"},
        "spec": {"groups": groups},
    }
    return _HEAD + str(yaml.dump(resource, Dumper=_Dumper, sort_keys=False, width=110, allow_unicode=True))


class _Dumper(yaml.SafeDumper):  # type: ignore[misc]  # has no types
    """Writes repeated values in full, as not every reader supports aliases, and long texts as blocks."""

    def ignore_aliases(self, data: object) -> bool:
        del data
        return True


def _represent_str(dumper: _Dumper, text: str) -> object:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_str)


def main() -> int:
    """Write or check the file; return the exit code."""
    given = parser(__doc__).parse_args()
    return write({STACK / "kubernetes" / "rules.yaml": rendered()}, recipe="dashboards", check=given.check)


if __name__ == "__main__":
    sys.exit(main())
