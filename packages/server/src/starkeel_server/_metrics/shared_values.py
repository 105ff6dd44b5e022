"""Exemplars of metrics shared between processes, which `prometheus_client` does not store.

Each values file has an exemplars file next to it: records of fixed size, each with the position of its value
in the values file.
"""

import mmap
from collections.abc import Iterable, Iterator
from pathlib import Path
from struct import Struct, error
from threading import Lock
from typing import Any, Final

import msgspec
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.samples import Exemplar, Sample

from .._compat import read_values

_RECORD: Final = Struct("<QddH166s")
"""Position of the value (8 is the first), exemplar value and time, size of its labels, labels as JSON."""
_MAX_RECORDS: Final = 4096
"""Maximum number of values with exemplars in one process; the file is sparse."""
_MAX_LABELS_BYTES: Final = 166
_PREFIX: Final = "exemplars_"

Name = tuple[str, tuple[tuple[str, str], ...]]
"""Name and labels of a sample."""


class ExemplarFile:
    """Latest exemplar of each value of this process.

    Args:
        values: The values file it belongs to.
    """

    def __init__(self, values: Path) -> None:
        self._lock = Lock()
        path = values.with_name(f"{_PREFIX}{values.stem}.bin")
        with path.open("a+b") as file:
            file.truncate(_MAX_RECORDS * _RECORD.size)
            self._memory = mmap.mmap(file.fileno(), _MAX_RECORDS * _RECORD.size)
        # Continue the file of the process that this one replaces.
        self._records = {position: number for number, (position, _) in enumerate(_read(self._memory))}

    def put(self, position: int, exemplar: Exemplar) -> None:
        """Store the exemplar, which has a timestamp, of the value at a position.

        It is dropped if its labels are too long or the file is full.
        """
        labels = msgspec.json.encode(exemplar.labels)
        with self._lock:
            number = self._records.get(position, len(self._records))
            if number >= _MAX_RECORDS or len(labels) > _MAX_LABELS_BYTES:
                return
            self._records[position] = number
            record = _RECORD.pack(position, exemplar.value, _timestamp(exemplar), len(labels), labels)
            self._memory[number * _RECORD.size : (number + 1) * _RECORD.size] = record


class ExemplarCollector(MultiProcessCollector):
    """Collects the values of all processes and their latest exemplars.

    Args:
        directory: Directory of the metrics files.
    """

    def __init__(self, directory: Path) -> None:
        super().__init__(None, path=str(directory))  # type: ignore[no-untyped-call]  # untyped upstream
        self._directory = directory

    def collect(self) -> Iterable[Any]:
        """Implements the collector interface of `prometheus_client`."""
        metrics = list(super().collect())  # type: ignore[no-untyped-call]  # untyped upstream
        exemplars = _latest(self._directory)
        for metric in metrics if exemplars else ():
            metric.samples = [_with_exemplar(sample, exemplars) for sample in metric.samples]
        return metrics


def _with_exemplar(sample: Sample, exemplars: dict[Name, Exemplar]) -> Sample:
    exemplar = exemplars.get((sample.name, tuple(sorted(sample.labels.items()))))
    return sample if exemplar is None else sample._replace(exemplar=exemplar)


def _latest(directory: Path) -> dict[Name, Exemplar]:
    latest: dict[Name, Exemplar] = {}
    for path in directory.glob(f"{_PREFIX}*.bin"):
        for name, exemplar in _read_named(path):
            before = latest.get(name)
            if before is None or _timestamp(before) < _timestamp(exemplar):
                latest[name] = exemplar
    return latest


def _timestamp(exemplar: Exemplar) -> float:
    return float(exemplar.timestamp or 0)


def _read_named(path: Path) -> Iterator[tuple[Name, Exemplar]]:
    values = path.with_name(f"{path.stem.removeprefix(_PREFIX)}.db")
    try:
        exemplars = dict(_read(path.read_bytes()))
        positions = read_values(values) if exemplars else []
    except (OSError, error):
        # The files were removed, or have just been created.
        return
    for key, position in positions:
        if position in exemplars:
            _, name, labels, _ = msgspec.json.decode(key)
            yield (name, tuple(sorted(labels.items()))), exemplars[position]


def _read(memory: bytes | mmap.mmap) -> Iterator[tuple[int, Exemplar]]:
    for number in range(len(memory) // _RECORD.size):
        position, value, timestamp, size, labels = _RECORD.unpack_from(memory, number * _RECORD.size)
        if not position:
            return
        try:
            yield (
                position,
                Exemplar(msgspec.json.decode(labels[:size], type=dict[str, str]), value, timestamp),
            )
        except msgspec.DecodeError:
            # The record is being written.
            continue
