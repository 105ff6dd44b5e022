"""Direct access to metric values, without a call or a lock per update."""

from typing import Any, Final, Protocol

_BYTES: Final = 8


class Values(Protocol):
    """Metric values by index."""

    def __getitem__(self, index: int, /) -> float: ...

    def __setitem__(self, index: int, value: float, /) -> None: ...


class _ProcessValues:
    """Values of `prometheus_client` that are not shared with other processes."""

    def __init__(self, values: list[Any]) -> None:
        self._values = values

    def __getitem__(self, index: int) -> float:
        value: float = self._values[index].get()
        return value

    def __setitem__(self, index: int, value: float) -> None:
        self._values[index].set(value)


def values_of(values: list[Any]) -> tuple[Values, list[int]]:
    """Return the values of one metric and the index of each.

    Values that processes share are in a memory-mapped file. Each update is one store in place, so that no
    count is lost however the process ends. Only one thread may change them.

    Args:
        values: Values of `prometheus_client`, which must not be changed in another way from now on.
    """
    try:
        file = values[0]._file  # noqa: SLF001 - there is no public attribute
        places = [file._positions[value._key] for value in values]  # noqa: SLF001 - as above
        # When the file grows it is mapped again; writes to the old mapping still reach the file.
        return memoryview(file._m).cast("d"), [place // _BYTES for place in places]  # noqa: SLF001 - as above
    except AttributeError:
        return _ProcessValues(values), list(range(len(values)))
