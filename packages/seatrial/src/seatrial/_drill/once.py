"""Observations that several rows share."""

import threading
from collections.abc import Callable
from typing import Any, TypeVar

_Value = TypeVar("_Value")


class Once:
    """Results of functions that are called once; an exception is kept as well, and raised again."""

    def __init__(self) -> None:
        self._results: dict[str, tuple[Any, Exception | None]] = {}
        self._locks: dict[str, threading.Lock] = {}

    def get(self, key: str, observe: Callable[[], _Value]) -> _Value:
        """Return the result of a function.

        Args:
            key: Name of the result.
            observe: Called if there is no result yet.
        """
        # Of each key, as an observation may need another one, and others go on beside it.
        with self._locks.setdefault(key, threading.Lock()):
            if key not in self._results:
                try:
                    self._results[key] = observe(), None
                except Exception as error:  # noqa: BLE001 - raised below, and for each later caller
                    self._results[key] = None, error
        value, problem = self._results[key]
        if problem is not None:
            raise problem
        result: _Value = value
        return result
