"""The numbers of metrics as places in memory: adding to one is then no call and takes no lock."""

from typing import Any, Final, Protocol

_BYTES: Final = 8


class Cells(Protocol):
    """Numbers that somebody else reads, by their index."""

    def __getitem__(self, index: int, /) -> float: ...

    def __setitem__(self, index: int, value: float, /) -> None: ...


class _Values:
    """Numbers that this process keeps to itself.

    Args:
        values: Of `prometheus_client`.
    """

    def __init__(self, values: list[Any]) -> None:
        self._values = values

    def __getitem__(self, index: int) -> float:
        value: float = self._values[index].get()
        return value

    def __setitem__(self, index: int, value: float) -> None:
        self._values[index].set(value)


def cells_of(values: list[Any]) -> tuple[Cells, list[int]]:
    """Where the numbers of one metric stand: what they are in, and the index of each.

    Those that processes share stand in a file in memory, which is written to in place, each in one store:
    what is counted is counted, however the process ends. Only one thread may add to them.

    Args:
        values: Of `prometheus_client`, which nobody else changes from now on.
    """
    try:
        file = values[0]._file  # noqa: SLF001 - it has no other name for it
        places = [file._positions[value._key] for value in values]  # noqa: SLF001 - as above
        # A file that grows is mapped anew; what is written to the mapping before is in the file all the same.
        return memoryview(file._m).cast("d"), [place // _BYTES for place in places]  # noqa: SLF001 - as above
    except AttributeError:
        return _Values(values), list(range(len(values)))
