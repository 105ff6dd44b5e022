"""Defers modules that other libraries import while they are imported, and rarely use.

`import litestar` imports advanced-alchemy if it is installed, and with it SQLAlchemy's dialects of databases
that a service does not use: a tenth of the imports of a worker.
"""

import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, Final

UNUSED_BY_LITESTAR: Final = (
    "sqlalchemy.dialects.mssql",
    "sqlalchemy.dialects.mysql",
    "sqlalchemy.dialects.oracle",
    "yaml",
)
"""Imported by `import litestar`, and used only for these databases and for OpenAPI documents in YAML."""


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
        # The import system looks up such names, for example `__path__`.
        if name.startswith("__"):
            raise AttributeError(name)
        return _DeferredName(self.__name__, name)


class _Finder(MetaPathFinder, Loader):
    def __init__(self, names: set[str]) -> None:
        self._names = names

    def find_spec(self, name: str, _path: object, _target: object = None) -> ModuleSpec | None:
        return ModuleSpec(name, self) if name in self._names else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _DeferredModule(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Do nothing: the module has no code of its own."""

    def remove_placeholders(self) -> None:
        for name in self._names:
            _remove(name)


def _remove(name: str) -> None:
    """Let the next import of a module import it, if it is a placeholder."""
    if not isinstance(sys.modules.get(name), _DeferredModule):
        return
    del sys.modules[name]
    parent, _, child = name.rpartition(".")
    if isinstance(getattr(sys.modules.get(parent), child, None), _DeferredModule):
        delattr(sys.modules[parent], child)
