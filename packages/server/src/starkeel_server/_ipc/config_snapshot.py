"""Configuration snapshot that the main process passes to its workers.

A worker that replaces a crashed one starts with the configuration that was checked, even if the files have
changed. File contents are kept in memory files: no secret is written to disk or to an environment.
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryFile

from starkeel_config import Entry, Resolved, ServiceSettings, load

from .._config.settings import ServerSettings
from .._control.log_levels import VARIABLE as LEVELS
from .worker_process import WorkerSpec

TLS_FILES = ("TLS_CERT_FILE", "TLS_KEY_FILE", "TLS_CLIENT_CA_FILE")
_BY_FILE = "file "
_ENCODING = ("utf-8", "surrogateescape")


class ConfigSnapshot:
    """A checked configuration, in descriptors that workers inherit.

    Args:
        environ: Environment with every `X_FILE` variable replaced by the file's content.
        service: Name of the service.
        overrides: Variables that keep their value at the start of the process.
        entries: Displayable effective settings.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        service: str,
        overrides: Mapping[str, str],
        *,
        entries: Iterable[Entry] = (),
    ) -> None:
        self.descriptors: list[int] = []
        frozen = {**environ, **overrides}
        self.entries = tuple(_override(entry, overrides) for entry in entries)
        self.log_level = frozen.get(LEVELS, "")
        try:
            for variable in TLS_FILES:
                path = frozen.get(variable, "").strip()
                if path:
                    frozen[variable] = _path(self._keep(variable, Path(path).read_bytes()))
            self.server = load(ServerSettings, frozen, service=service)
            self.environ = self._keep("environ", _packed(frozen))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the descriptors; workers keep their own."""
        for descriptor in self.descriptors:
            os.close(descriptor)
        self.descriptors.clear()

    def _keep(self, name: str, content: bytes) -> int:
        descriptor = _memory_file(name, content)
        self.descriptors.append(descriptor)
        return descriptor


def _override(entry: Entry, overrides: Mapping[str, str]) -> Entry:
    if entry.variable not in overrides:
        return entry
    return Entry(entry.variable, overrides[entry.variable], "start of the process")


def frozen_environ(environ: Mapping[str, str], resolved: Resolved[ServiceSettings]) -> dict[str, str]:
    """Return the environment with every `X_FILE` variable replaced by the file's content."""
    frozen = dict(environ)
    for entry in resolved.entries:
        if entry.source.startswith(_BY_FILE):
            path = Path(entry.source.removeprefix(_BY_FILE))
            frozen.pop(f"{entry.variable}_FILE", None)
            frozen[entry.variable] = path.read_text("utf-8-sig").rstrip("\r\n")
    return frozen


def read_environ(spec: WorkerSpec, received: Mapping[int, int]) -> dict[str, str]:
    """Read the environment that the main process sent; can be called once.

    Args:
        spec: Contains its descriptor.
        received: Descriptors of this process by those of the main process.
    """
    descriptor = received[spec.environ]
    packed = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
    os.close(descriptor)
    pairs = (item.decode(*_ENCODING).partition("=") for item in packed.split(b"\0") if item)
    environ = {name: value for name, _, value in pairs}
    for variable in TLS_FILES:
        if environ.get(variable):
            environ[variable] = _path(received[int(environ[variable].rpartition("/")[2])])
    return environ


def _packed(environ: Mapping[str, str]) -> bytes:
    # As in the kernel: no NUL in names and values, but possibly not UTF-8.
    return b"\0".join(f"{name}={value}".encode(*_ENCODING) for name, value in environ.items())


def _memory_file(name: str, content: bytes) -> int:
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create(name)
    else:
        with TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    left = memoryview(content)
    while left:
        left = left[os.write(descriptor, left) :]
    return descriptor


def _path(descriptor: int) -> str:
    """Return a path that opens a descriptor of this process."""
    own = Path("/proc/self/fd")
    return f"{own if own.is_dir() else '/dev/fd'}/{descriptor}"
