"""Exemplars of metrics that processes share: `prometheus_client` keeps none for those.

Beside each process's files of values lies one of exemplars: records of one size, each with the place that its
value has in the file of values.
"""

import mmap
from collections.abc import Iterable, Iterator
from pathlib import Path
from struct import Struct, error
from threading import Lock
from typing import Any, Final

import msgspec
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.samples import Exemplar, Sample

_RECORD: Final = Struct("<QddH166s")
"""Place of the value (8 is the first), value and time of the exemplar, its labels as JSON with their size."""
_MOST: Final = 4096
"""Values with exemplars in one process; the file takes the memory of those only that there are."""
_LONGEST: Final = 166
_PREFIX: Final = "exemplars_"

Name = tuple[str, tuple[tuple[str, str], ...]]
"""A sample's name and labels."""


class ExemplarFile:
    """The exemplars of this process, one for each value, the last.

    Args:
        values: The file of values that they belong to.
    """

    def __init__(self, values: Path) -> None:
        self._lock = Lock()
        path = values.with_name(f"{_PREFIX}{values.stem}.bin")
        with path.open("a+b") as file:
            file.truncate(_MOST * _RECORD.size)
            self._memory = mmap.mmap(file.fileno(), _MOST * _RECORD.size)
        # Those of the process that this one takes over from.
        self._records = {place: number for number, (place, _) in enumerate(_read(self._memory))}

    def put(self, place: int, exemplar: Exemplar) -> None:
        """Keep an exemplar, unless it is too long or there are too many.

        Args:
            place: Of its value.
            exemplar: Of which the time is known.
        """
        labels = msgspec.json.encode(exemplar.labels)
        with self._lock:
            number = self._records.get(place, len(self._records))
            if number >= _MOST or len(labels) > _LONGEST:
                return
            self._records[place] = number
            record = _RECORD.pack(place, exemplar.value, _at(exemplar), len(labels), labels)
            self._memory[number * _RECORD.size : (number + 1) * _RECORD.size] = record


class ExemplarCollector(MultiProcessCollector):
    """Collects the values of all processes, and their last exemplars.

    Args:
        directory: Where their files are.
    """

    def __init__(self, directory: Path) -> None:
        super().__init__(None, path=str(directory))  # type: ignore[no-untyped-call]  # untyped upstream
        self._directory = directory

    def collect(self) -> Iterable[Any]:
        """As `prometheus_client` asks for it."""
        metrics = list(super().collect())  # type: ignore[no-untyped-call]  # untyped upstream
        found = _newest(self._directory)
        for metric in metrics if found else ():
            metric.samples = [_with_exemplar(sample, found) for sample in metric.samples]
        return metrics


def _with_exemplar(sample: Sample, found: dict[Name, Exemplar]) -> Sample:
    exemplar = found.get((sample.name, tuple(sorted(sample.labels.items()))))
    return sample if exemplar is None else sample._replace(exemplar=exemplar)


def _newest(directory: Path) -> dict[Name, Exemplar]:
    found: dict[Name, Exemplar] = {}
    for path in directory.glob(f"{_PREFIX}*.bin"):
        for name, exemplar in _named(path):
            before = found.get(name)
            if before is None or _at(before) < _at(exemplar):
                found[name] = exemplar
    return found


def _at(exemplar: Exemplar) -> float:
    return float(exemplar.timestamp or 0)


def _named(path: Path) -> Iterator[tuple[Name, Exemplar]]:
    values = path.with_name(f"{path.stem.removeprefix(_PREFIX)}.db")
    try:
        exemplars = dict(_read(path.read_bytes()))
        rows = list(MmapedDict.read_all_values_from_file(values)) if exemplars else []  # type: ignore[no-untyped-call]  # untyped upstream
    except (OSError, error):
        # A process that is gone took its files along, or one has just begun.
        return
    for key, _, _, place in rows:
        if place in exemplars:
            _, name, labels, _ = msgspec.json.decode(key)
            yield (name, tuple(sorted(labels.items()))), exemplars[place]


def _read(memory: bytes | mmap.mmap) -> Iterator[tuple[int, Exemplar]]:
    for number in range(len(memory) // _RECORD.size):
        place, value, at, size, labels = _RECORD.unpack_from(memory, number * _RECORD.size)
        if not place:
            return
        try:
            yield place, Exemplar(msgspec.json.decode(labels[:size], type=dict[str, str]), value, at)
        except msgspec.DecodeError:
            # It is being written.
            continue
