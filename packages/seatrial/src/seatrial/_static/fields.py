"""Typed reading of parsed JSON and YAML."""

from collections.abc import Iterator
from typing import Any, TypeVar

_T = TypeVar("_T")


class FieldError(Exception):
    """A document has a value of the wrong type."""


class Fields:
    """Keys of a mapping; a key that is missing or `null` is absent.

    Args:
        value: Parsed value; `None` is an empty mapping.
        where: Name of the document and path of the value, for messages.

    Raises:
        FieldError: The value is not a mapping. Methods raise it for a value of another type.
    """

    __slots__ = ("_value", "where")

    def __init__(self, value: object, where: str) -> None:
        self.where = where
        self._value: dict[Any, Any] = _typed({} if value is None else value, dict, where)

    def __contains__(self, key: str) -> bool:
        return self._value.get(key) is not None

    def __iter__(self) -> Iterator[str]:
        return (printable(str(key)) for key in self._value)

    @property
    def value(self) -> dict[Any, Any]:
        """The mapping itself."""
        return self._value

    def raw(self, key: str) -> Any:
        """Return the value of a key unchecked, or `None`."""
        return self._value.get(key)

    def text(self, key: str, default: str = "") -> str:
        """Return a string; numbers and booleans are converted."""
        value = self._value.get(key)
        return default if value is None else _scalar(value, self._path(key))

    def integer(self, key: str) -> int | None:
        """Return an integer, or `None` if it is absent."""
        value = self._value.get(key)
        return None if value is None else _typed(value, int, self._path(key))

    def boolean(self, key: str) -> bool | None:
        """Return a boolean, or `None` if it is absent."""
        value = self._value.get(key)
        return None if value is None else _typed(value, bool, self._path(key))

    def fields(self, *keys: str) -> "Fields":
        """Return the mapping that keys lead to, one after another."""
        found = self
        for key in keys:
            found = Fields(found._value.get(key), found._path(key))
        return found

    def each(self, key: str) -> list["Fields"]:
        """Return the mappings of a list."""
        return [Fields(value, f"{self._path(key)}[{n}]") for n, value in enumerate(self.items(key))]

    def items(self, key: str) -> list[Any]:
        """Return a list."""
        value = self._value.get(key)
        return [] if value is None else _typed(value, list, self._path(key))

    def texts(self, key: str) -> tuple[str, ...]:
        """Return the strings of a list."""
        return tuple(_scalar(value, self._path(key)) for value in self.items(key))

    def mapping(self, key: str) -> dict[str, str]:
        """Return a mapping of strings; `null` is an empty string."""
        value = self._value.get(key)
        found = {} if value is None else _typed(value, dict, self._path(key))
        return {
            printable(str(name)): "" if each is None else _scalar(each, f"{self._path(key)}.{name}")
            for name, each in found.items()
        }

    def _path(self, key: str) -> str:
        return f"{self.where}.{key}"


def _typed(value: object, expected: type[_T], where: str) -> _T:
    if not isinstance(value, expected) or (expected is int and isinstance(value, bool)):
        names = {dict: "a mapping", list: "a list", int: "an integer", bool: "true or false"}
        raise FieldError(f"{where} must be {names.get(expected, 'a string')}")
    return value


def _scalar(value: object, where: str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    return printable(_typed(value, str, where))


def printable(text: str) -> str:
    """Return a text that can be encoded: JSON and YAML permit single surrogates."""
    return text.encode("utf-8", "backslashreplace").decode()
