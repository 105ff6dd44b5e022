"""Recipes of the justfile."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from .source import code, table

_HEAD: Final = """# Recipes

Generated from the `justfile` by `just reference`.

Run them as `uv run just RECIPE`, or as `just RECIPE` with [just](https://just.systems) installed.
"""


def render(root: Path) -> str:
    """Return the page."""
    just = Path(sys.executable).with_name("just")
    command = [
        str(just),
        "--justfile",
        str(root / "justfile"),
        "--dump",
        "--dump-format",
        "json",
        "--unstable",
    ]
    dumped = subprocess.run(command, cwd=root, capture_output=True, check=True).stdout
    groups: dict[str, list[list[str]]] = {}
    for recipe in json.loads(dumped)["recipes"].values():
        if not recipe["private"]:
            groups.setdefault(_group(recipe), []).append([_usage(recipe), recipe["doc"] or ""])
    sections = [
        f"## {name.capitalize()}\n\n{table(['recipe', 'effect'], sorted(rows))}"
        for name, rows in groups.items()
    ]
    return "\n".join([_HEAD, *sections])


def _group(recipe: dict[str, Any]) -> str:
    names = [each["group"] for each in recipe["attributes"] if isinstance(each, dict) and "group" in each]
    return names[0] if names else "other"


def _usage(recipe: dict[str, Any]) -> str:
    parts = [recipe["name"]]
    for parameter in recipe["parameters"]:
        name = parameter["name"].upper()
        is_optional = parameter["kind"] == "star" or parameter["default"] is not None
        parts.append(f"[{name}]" if is_optional else name)
    return code(" ".join(parts))
