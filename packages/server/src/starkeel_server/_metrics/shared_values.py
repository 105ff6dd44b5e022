"""Metric values shared between processes, with exemplars, which `prometheus_client` does not store for them.

Each values file has an exemplars file next to it: records of fixed size, each with the position of its value
in the values file. The private names used here are checked by `check_prometheus_client`. This module must not
be imported before `share_metrics` was called.
"""

import mmap
from collections.abc import Iterable, Iterator
from pathlib import Path
from struct import Struct, error
from threading import Lock
from typing import Any, Final

import msgspec
from prometheus_client import Counter, values
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.samples import Exemplar

from .._compat import incompatible

_RECORD: Final = Struct("<QddH166s")
"""Position of the value (8 is the first), exemplar value and time, size of its labels, labels as JSON."""
_MAX_RECORDS: Final = 4096
"""Maximum number of values with exemplars in one process; the file is sparse."""
_MAX_LABELS_BYTES: Final = 166
_PREFIX: Final = "exemplars_"

Name = tuple[str, tuple[tuple[str, str], ...]]
"""Name and labels of a sample."""


def name_process(name: str) -> None:
    """Keep the values of this process in files named by `name` instead of its process id.

    A replacement worker continues the files of its predecessor: totals are kept, and the number of files does
    not grow with restarts. Unlike the original, values store exemplars and do not check the process id.
    """
    lock = Lock()
    stores: dict[str, ExemplarFile] = {}

    class Value(values.MultiProcessValue(lambda: name)):  # type: ignore[misc]  # untyped upstream
        def inc(self, amount: float) -> None:
            with lock:
                self._value += amount
                self._file.write_value(self._key, self._value, 0.0)

        def set(self, value: float, timestamp: float | None = None) -> None:
            with lock:
                self._value = value
                self._file.write_value(self._key, value, timestamp or 0.0)

        def set_exemplar(self, exemplar: Exemplar) -> None:
            path = self._file._fname  # noqa: SLF001 - not public
            with lock:
                if path not in stores:
                    stores[path] = ExemplarFile(_exemplars_path(Path(path)))
                position = self._file._positions[self._key]  # noqa: SLF001 - not public
                stores[path].put(position, exemplar)

    values.ValueClass = Value


def check_prometheus_client(directory: Path) -> None:
    """Count with an exemplar, read the positions back, and remove the files.

    Raises:
        StartError: The installed prometheus_client is not supported.
    """
    try:
        name_process("probe")
        Counter("probe", "Probe.", registry=None).inc(1.0, exemplar={"probe": "1"})
        file = directory / "counter_probe.db"
        exemplars_file = _exemplars_path(file)
        stored = [position for _, position in _read_positions(file)]
        positions = [position for position, _ in _read(exemplars_file.read_bytes())]
        file.unlink()
        exemplars_file.unlink()
    except (ImportError, AttributeError, LookupError, TypeError, ValueError, OSError) as failure:
        raise incompatible("prometheus-client", f"{type(failure).__name__}: {failure}") from failure
    if not stored or stored != positions:
        raise incompatible("prometheus-client", f"values are at {stored}, exemplars at {positions}")


class ExemplarFile:
    """Latest exemplar of each value of this process; not thread-safe."""

    def __init__(self, path: Path) -> None:
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
        number = self._records.get(position, len(self._records))
        if number >= _MAX_RECORDS or len(labels) > _MAX_LABELS_BYTES:
            return
        self._records[position] = number
        fields = (position, exemplar.value, _timestamp(exemplar), len(labels), labels)
        _RECORD.pack_into(self._memory, number * _RECORD.size, *fields)


class ExemplarCollector(MultiProcessCollector):
    """Collects the values of all processes and their latest exemplars."""

    def __init__(self, directory: Path) -> None:
        super().__init__(None, path=str(directory))  # type: ignore[no-untyped-call]  # untyped upstream
        self._directory = directory

    def collect(self) -> Iterable[Any]:
        """Implements the collector interface of `prometheus_client`."""
        metrics = list(super().collect())  # type: ignore[no-untyped-call]  # untyped upstream
        exemplars = _latest(self._directory)
        for metric in metrics if exemplars else ():
            names = ((sample.name, tuple(sorted(sample.labels.items()))) for sample in metric.samples)
            metric.samples = [
                sample._replace(exemplar=exemplars.get(name, sample.exemplar))
                for sample, name in zip(metric.samples, names, strict=True)
            ]
        return metrics


def _latest(directory: Path) -> dict[Name, Exemplar]:
    latest: dict[Name, Exemplar] = {}
    for path in directory.glob(f"{_PREFIX}*.bin"):
        for name, exemplar in _read_named(path):
            if name not in latest or _timestamp(latest[name]) < _timestamp(exemplar):
                latest[name] = exemplar
    return latest


def _timestamp(exemplar: Exemplar) -> float:
    return float(exemplar.timestamp or 0)


def _exemplars_path(values_file: Path) -> Path:
    return values_file.with_name(f"{_PREFIX}{values_file.stem}.bin")


def _read_named(path: Path) -> Iterator[tuple[Name, Exemplar]]:
    try:
        exemplars = dict(_read(path.read_bytes()))
        values_file = path.with_name(f"{path.stem.removeprefix(_PREFIX)}.db")
        positions = _read_positions(values_file) if exemplars else []
    except (OSError, error):
        # The files were removed, or have just been created.
        return
    for key, position in positions:
        if position in exemplars:
            _, name, labels, _ = msgspec.json.decode(key)
            yield (name, tuple(sorted(labels.items()))), exemplars[position]


def _read_positions(file: Path) -> list[tuple[str, int]]:
    """Return key and position of every value in a values file."""
    rows = MmapedDict.read_all_values_from_file(file)  # type: ignore[no-untyped-call]  # untyped upstream
    return [(key, position) for key, _, _, position in rows]


def _read(memory: bytes | mmap.mmap) -> Iterator[tuple[int, Exemplar]]:
    """Yield position and exemplar of each record."""
    for number in range(len(memory) // _RECORD.size):
        position, value, timestamp, size, labels = _RECORD.unpack_from(memory, number * _RECORD.size)
        if not position:
            return
        try:
            decoded = msgspec.json.decode(labels[:size], type=dict[str, str])
        except msgspec.DecodeError:
            # The record is being written.
            continue
        yield position, Exemplar(decoded, value, timestamp)
