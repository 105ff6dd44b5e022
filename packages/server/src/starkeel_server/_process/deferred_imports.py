"""Defers modules that other libraries import while they are imported, and rarely use.

`import litestar` imports all of advanced-alchemy if it is installed, and with it SQLAlchemy's dialects of
databases that a service does not use; PyJWT imports the certificates of `cryptography`. These are a sixth of
the imports of a worker.
"""

import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any, Final

UNUSED: Final = (
    "advanced_alchemy.config",
    "advanced_alchemy.filters",
    "advanced_alchemy.service",
    "cryptography.x509",
    "sqlalchemy.dialects.mssql",
    "sqlalchemy.dialects.mysql",
    "sqlalchemy.dialects.oracle",
    "yaml",
)
"""Imported by Litestar and PyJWT, and used only by services that use advanced-alchemy's repositories or its
plugin, keys in certificates, these databases, or OpenAPI documents in YAML."""
_DEFINED_IN: Final = {"advanced_alchemy.service.OffsetPagination": "advanced_alchemy.service.pagination"}
"""Modules of names that are compared by identity, and are therefore imported nevertheless."""


@contextmanager
def deferred_imports(names: Sequence[str]) -> Generator[None]:
    """Let modules that are imported in this context receive placeholders for other modules and their names.

    A placeholder imports its module when it is called, subclassed or inspected. Imports after this context
    are not affected. A module that is imported already is not deferred.

    Args:
        names: Full names of the modules.
    """
    finder = _Finder({name for name in names if name not in sys.modules})
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        finder.remove_placeholders()


class _DeferredName:
    """A name of a deferred module."""

    def __init__(self, module: str, name: str) -> None:
        self._module = module
        self._name = name

    def _resolve(self) -> Any:
        _remove(self._module)
        return getattr(import_module(self._module), self._name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._resolve()(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._resolve(), name)

    def __mro_entries__(self, _: tuple[Any, ...]) -> tuple[Any]:
        return (self._resolve(),)

    def __instancecheck__(self, instance: object) -> bool:
        return isinstance(instance, self._resolve())

    def __subclasscheck__(self, subclass: type) -> bool:
        return issubclass(subclass, self._resolve())


class _DeferredModule(ModuleType):
    def __getattr__(self, name: str) -> Any:
        # The import system looks up such names.
        if name.startswith("__"):
            raise AttributeError(name)
        if (module := _DEFINED_IN.get(f"{self.__name__}.{name}")) is not None:
            return getattr(import_module(module), name)
        return _DeferredName(self.__name__, name)


class _Finder(MetaPathFinder, Loader):
    def __init__(self, names: set[str]) -> None:
        self._names = names

    def find_spec(self, name: str, path: Sequence[str] | None, _target: object = None) -> ModuleSpec | None:
        if name not in self._names or (found := PathFinder.find_spec(name, path)) is None:
            return None
        spec = ModuleSpec(name, self)
        # A package, of which other modules are imported.
        spec.submodule_search_locations = found.submodule_search_locations
        return spec

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _DeferredModule(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Do nothing: the module has no code of its own."""

    def remove_placeholders(self) -> None:
        for name in self._names:
            _remove(name)


def _remove(name: str) -> None:
    """Let the next import of a module import it, if it is a placeholder, and its package on first use."""
    if not isinstance(sys.modules.get(name), _DeferredModule):
        return
    del sys.modules[name]
    parent, _, child = name.rpartition(".")
    package = sys.modules.get(parent)
    if isinstance(getattr(package, child, None), _DeferredModule):
        delattr(package, child)
        _import_on_use(package, child)


def _import_on_use(package: Any, child: str) -> None:
    """Have a package import one of its modules when it is looked up (PEP 562)."""
    others = vars(package).get("__getattr__")

    def get(name: str) -> Any:
        if name == child:
            return import_module(f"{package.__name__}.{name}")
        if others is not None:
            return others(name)
        raise AttributeError(f"module {package.__name__!r} has no attribute {name!r}")

    package.__getattr__ = get
