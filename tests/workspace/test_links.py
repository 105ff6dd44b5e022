"""Relative links in the documentation."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_LINK = re.compile(r"\]\((?!https?://|mailto:|#)([^)#\s]+)(?:#[^)]*)?\)")


def _pages() -> list[str]:
    listed = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [page for page in listed.stdout.splitlines() if (ROOT / page).exists()]


@pytest.mark.parametrize("page", _pages())
def test_relative_links_have_a_target(page: str) -> None:
    path = ROOT / page
    text = re.sub(r"```.*?```", "", path.read_text("utf-8"), flags=re.DOTALL)

    assert [link for link in _LINK.findall(text) if not (path.parent / link).exists()] == []
