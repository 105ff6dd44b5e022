"""Each guarantee that names a test has that test."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_tests_of_guarantees_exist() -> None:
    text = (ROOT / "docs/explanation/guarantees.md").read_text()
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", text)
    assert named
    missing = [f"{path}::{name}" for path, name in named if name not in functions(ROOT / path)]
    assert not missing, f"guarantees.md names tests that do not exist: {', '.join(missing)}"


def functions(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
