"""TLS contexts of this workspace ignore `SSLKEYLOGFILE`, which writes the keys of connections to a file."""

import re

import pytest

from tools.registry import ROOT

MODULES = [
    path
    for folder in ("packages", "services")
    for path in sorted((ROOT / folder).glob("*/src/**/*.py"))
    if "create_default_context(" in path.read_text("utf-8")
]


def test_there_are_such_modules() -> None:
    assert len(MODULES) >= 5


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.name)
def test_every_default_context_writes_no_keys(module: object) -> None:
    text = module.read_text("utf-8")  # type: ignore[attr-defined]  # a path

    assert len(re.findall(r"\.keylog_filename = None", text)) == text.count("create_default_context(")
