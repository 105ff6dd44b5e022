"""Lazy imports of a package's public names (PEP 562)."""

import sys
import warnings
from collections.abc import Callable, Collection, Mapping
from typing import Any


def lazy_exports(
    package: str, names: Mapping[str, Collection[str]], renamed: Mapping[str, str] | None = None
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return `__getattr__` and `__dir__` of a package that imports its public names on first use.

    Type checkers read the ordinary imports, and report names that do not exist::

        if TYPE_CHECKING:
            from ._plugin import ClientPlugin
            from ._settings import UpstreamSettings, upstream
        else:
            __getattr__, __dir__ = lazy_exports(
                __name__, {"_plugin": ["ClientPlugin"], "_settings": ["UpstreamSettings", "upstream"]}
            )

        __all__ = ["ClientPlugin", "UpstreamSettings", "upstream"]

    Args:
        package: `__name__` of the package.
        names: Public names by the submodule that defines them, such as `_settings` or `_tokens.keys`.
        renamed: New names by deprecated ones, which still work and warn.
    """
    modules = {name: module for module, exported in names.items() for name in exported}

    def get(name: str) -> Any:
        if renamed is not None and name in renamed:
            message = f"{package}.{name} is deprecated: use {package}.{renamed[name]}"
            warnings.warn(message, DeprecationWarning, stacklevel=2)
            return getattr(sys.modules[package], renamed[name])
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        from importlib import import_module

        value = getattr(import_module(f".{modules[name]}", package), name)
        # Stored in the module, so that this function is called once for each name.
        setattr(sys.modules[package], name, value)
        return value

    def list_names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *modules})

    return get, list_names
