"""The exception classes of the libraries that a service uses."""

import sqlite3
from collections.abc import Iterator
from importlib import import_module
from pkgutil import walk_packages
from typing import Final

import sqlalchemy

_WHOLE: Final = ("aiosqlite", "asyncpg", "httpcore2", "httpx2")
_PARTS: Final = (
    "sqlalchemy.dialects.postgresql.asyncpg",
    "sqlalchemy.dialects.sqlite.aiosqlite",
    "sqlalchemy.exc",
    "sqlalchemy.ext.asyncio",
    "sqlalchemy.orm",
    "sqlalchemy.pool",
    sqlite3.__name__,
)
_LIBRARIES: Final = {*_WHOLE, sqlalchemy.__name__, sqlite3.__name__}
# Modules of optional features, which are not installed.
_OPTIONAL: Final = {"socksio", "trio"}


def error_classes() -> dict[str, type[Exception]]:
    """Return the public exception classes by their qualified names."""
    for library in _WHOLE:
        for module in walk_packages(import_module(library).__path__, f"{library}."):
            _import(module.name)
    for part in _PARTS:
        import_module(part)
    found = {f"{kind.__module__}.{kind.__qualname__}": kind for kind in _subclasses(Exception, set())}
    return {name: kind for name, kind in sorted(found.items()) if _is_public(name)}


def made(kind: type[Exception]) -> Exception:
    """Return an exception as a library creates it, as far as that is possible without the library."""
    for arguments in (("boom",), ("boom", None), ("boom", None, None), ("boom", (), RuntimeError("boom"))):
        try:
            return kind(*arguments)
        except (TypeError, AttributeError):
            continue
    # Some are created of objects such as a response: without their constructor, their properties raise.
    error = kind.__new__(kind)
    Exception.__init__(error, "boom")
    return error


def _import(name: str) -> None:
    if "._testbase" in name:
        return
    try:
        import_module(name)
    except ModuleNotFoundError as error:
        if error.name not in _OPTIONAL:
            raise


def _subclasses(kind: type[Exception], known: set[type[Exception]]) -> Iterator[type[Exception]]:
    for each in kind.__subclasses__():
        if each not in known:
            known.add(each)
            yield each
            yield from _subclasses(each, known)


def _is_public(name: str) -> bool:
    library, *_, last = name.split(".")
    return library in _LIBRARIES and "_testbase" not in name and not last.startswith("_")
