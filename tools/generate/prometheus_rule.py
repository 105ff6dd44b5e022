"""Write the rules as Kubernetes has them, a PrometheusRule of Prometheus' operator, or check that file.

python -m tools.generate.prometheus_rule           write it
python -m tools.generate.prometheus_rule --check   exit with 1 when it is stale, and name it
"""

import argparse
import sys

import yaml  # type: ignore[import-untyped]  # has no types

from ..workspace import ROOT

STACK = ROOT / "deploy" / "observability"
FILE = STACK / "kubernetes" / "rules.yaml"
_HEAD = "# Written by `just dashboards` from rules/*.yaml: change those.\n"


def written() -> str:
    """Return the resource, with the groups of all files."""
    groups = []
    for path in sorted((STACK / "rules").glob("*.yaml")):
        groups += yaml.safe_load(path.read_text("utf-8"))["groups"]
    resource = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "starkeel"},
        "spec": {"groups": groups},
    }
    return _HEAD + str(yaml.dump(resource, Dumper=_Plain, sort_keys=False, width=110, allow_unicode=True))


class _Plain(yaml.SafeDumper):  # type: ignore[misc]  # has no types
    """Writes the same thing twice, where YAML has names for it that others do not follow."""

    def ignore_aliases(self, data: object) -> bool:
        """Have no aliases."""
        del data
        return True


def _text(dumper: _Plain, text: str) -> object:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Plain.add_representer(str, _text)


def main() -> int:
    """Write or check; the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="write nothing, exit with 1 when it is stale")
    text = written()
    if not parser.parse_args().check:
        FILE.write_text(text, "utf-8")
        return 0
    if FILE.exists() and FILE.read_text("utf-8") == text:
        return 0
    sys.stderr.write(f"{FILE.relative_to(ROOT)} is not what `just dashboards` writes\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
