"""The page of security requirements names tests that exist, and each requirement once."""

import ast
import re
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text("utf-8")
PARTS = dict(
    zip(
        re.findall(r"^## (.*)$", PAGE, re.MULTILINE),
        re.split(r"^## .*$", PAGE, flags=re.MULTILINE)[1:],
        strict=True,
    )
)
ROWS = re.findall(r"^\| (V\S+) \| ([12]) \| (.+) \| (.+) \|$", PARTS["Met"], re.MULTILINE)
ID = re.compile(r"\bV[0-9]+\.[0-9]+\.[0-9]+\b")


@cache
def functions_of(path: str) -> frozenset[str]:
    tree = ast.parse((ROOT / path).read_text("utf-8"))
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, functions))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_every_named_test_exists(row: tuple[str, str, str, str]) -> None:
    named = re.findall(r"`([^`]+)`", row[3])

    assert named, f"{row[0]} names no test"
    for name in named:
        path, _, function = name.partition("::")
        assert (ROOT / path).is_file(), name
        assert function in functions_of(path), name


def test_every_row_is_complete() -> None:
    lines = [line for line in PARTS["Met"].splitlines() if line.startswith("| V")]

    assert len(lines) == len(ROWS) > 0


def test_each_requirement_is_in_one_table() -> None:
    listed: list[str] = []
    for part in PARTS.values():
        for line in part.splitlines():
            if line.startswith("| V"):
                listed += ID.findall(line.split(" | ")[0])

    assert [name for name, count in Counter(listed).items() if count > 1] == []
    assert {"Met", "Not met", "Not applicable"} == PARTS.keys()
