"""What main hands to its workers: the configuration as it read and checked it.

A worker that replaces a crashed one starts with what was checked, whatever the files hold by then. So what
was in them is kept in memory that workers are given: no secret is in a file of ours, or in an environment.
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
    """A configuration that was checked, in descriptors that workers are given.

    Args:
        environ: The environment, what was given by file put in its place.
        service: Name of the service.
        shadows: Variables that a worker is to see otherwise than they are.
        entries: What was made of it, fit to be shown.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        service: str,
        shadows: Mapping[str, str],
        *,
        entries: Iterable[Entry] = (),
    ) -> None:
        self.descriptors: list[int] = []
        frozen = {**environ, **shadows}
        self.entries = tuple(_as_before(entry, shadows) for entry in entries)
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
        """Let go of it; workers keep what they were given."""
        for descriptor in self.descriptors:
            os.close(descriptor)
        self.descriptors.clear()

    def _keep(self, name: str, content: bytes) -> int:
        descriptor = _kept(name, content)
        self.descriptors.append(descriptor)
        return descriptor


def _as_before(entry: Entry, shadows: Mapping[str, str]) -> Entry:
    if entry.variable not in shadows:
        return entry
    return Entry(entry.variable, shadows[entry.variable], "start of the process")


def frozen_environ(environ: Mapping[str, str], resolved: Resolved[ServiceSettings]) -> dict[str, str]:
    """The environment with the content of files in place of their paths.

    Args:
        environ: The environment.
        resolved: What was made of it, which tells what was given by file.
    """
    frozen = dict(environ)
    for entry in resolved.entries:
        if entry.source.startswith(_BY_FILE):
            path = Path(entry.source.removeprefix(_BY_FILE))
            frozen.pop(f"{entry.variable}_FILE", None)
            frozen[entry.variable] = path.read_text("utf-8-sig").rstrip("\r\n")
    return frozen


def read_environ(spec: WorkerSpec, received: Mapping[int, int]) -> dict[str, str]:
    """The environment that main handed over; it can be had once.

    Args:
        spec: Say where it is.
        received: Descriptors of this process by those that main has.
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
    # As the kernel does it: neither names nor values have a NUL in them, but either may be no UTF-8.
    return b"\0".join(f"{name}={value}".encode(*_ENCODING) for name, value in environ.items())


def _kept(name: str, content: bytes) -> int:
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
    """A path by which this process opens a descriptor."""
    own = Path("/proc/self/fd")
    return f"{own if own.is_dir() else '/dev/fd'}/{descriptor}"
