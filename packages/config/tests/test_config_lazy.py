"""Lazy imports of public names."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

INIT = """
from typing import TYPE_CHECKING
from starkeel_config import lazy_exports
if TYPE_CHECKING:
    from ._inner.values import answer
else:
    __getattr__, __dir__ = lazy_exports(__name__, {"_inner.values": ["answer"]})
__all__ = ["answer"]
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    inner = tmp_path / "lazy_sample" / "_inner"
    inner.mkdir(parents=True)
    (inner.parent / "__init__.py").write_text(INIT)
    (inner / "__init__.py").touch()
    (inner / "values.py").write_text("answer = 42\nhidden = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("lazy_sample")
    for name in [name for name in sys.modules if name.startswith("lazy_sample")]:
        del sys.modules[name]


def test_a_name_is_imported_on_first_use(package: ModuleType) -> None:
    assert "lazy_sample._inner.values" not in sys.modules

    assert package.answer == 42

    assert "lazy_sample._inner.values" in sys.modules
    assert vars(package)["answer"] == 42


def test_a_star_import_returns_all_names(package: ModuleType) -> None:
    found: dict[str, object] = {}

    exec("from lazy_sample import *", found)

    assert found["answer"] == 42


def test_dir_lists_names_before_their_import(package: ModuleType) -> None:
    assert {"answer", "__all__"} <= set(dir(package))
    assert "lazy_sample._inner.values" not in sys.modules


def test_an_unlisted_name_raises_an_attribute_error(package: ModuleType) -> None:
    with pytest.raises(AttributeError, match="module 'lazy_sample' has no attribute 'hidden'"):
        _ = package.hidden


@pytest.mark.parametrize("name", ["starkeel_config", "starkeel_auth", "starkeel_client"])
def test_all_public_names_are_exported(name: str) -> None:
    module = importlib.import_module(name)

    exported = {name: getattr(module, name) for name in module.__all__}

    assert len(exported) == len(module.__all__)
    assert set(exported) <= set(dir(module))
