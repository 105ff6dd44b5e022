"""Figures of a drill, printed even if the test passes."""

import sys

import pytest


def report(capsys: pytest.CaptureFixture[str], drill: str, *results: object, **figures: object) -> None:
    """Print a line with results and named figures."""
    named = [f"{name.replace('_', ' ')} {value}" for name, value in figures.items()]
    with capsys.disabled():
        sys.stdout.write(f"\n{drill}: {', '.join([*map(str, results), *named])}\n")
