"""Configuration snapshot that the main process passes to its workers.

A worker that replaces a crashed one starts with the configuration that was checked, even if the files have
changed. File contents are kept in memory files: no secret is written to disk or to an environment.
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryFile

from msgspec.structs import replace
from starkeel_config import ConfigurationError, Entry

from .._config.settings import RESTART_ONLY, TLS_FILES, ServerSettings
from .._control.log_levels import VARIABLE as LOG_LEVEL
from .worker_process import WorkerSpec

_ENCODING = ("utf-8", "surrogateescape")


class ConfigSnapshot:
    """A checked configuration, in descriptors that workers inherit.

    Args:
        environ: Environment with the text of every setting; none is given by file.
        entries: Displayable effective settings.

    Raises:
        ConfigurationError: A TLS file has become invalid since the settings were read.
    """

    def __init__(
        self, service: str, server: ServerSettings, environ: Mapping[str, str], entries: Iterable[Entry]
    ) -> None:
        self.descriptors: list[int] = []
        self.entries = tuple(entries)
        try:
            self.server = self._copy_files(service, server)
            texts = {**environ, **{name: str(path) for name, path in self.server.tls_files()}}
            # As in the kernel: no NUL in names and values, but possibly not UTF-8.
            packed = (f"{name}={value}".encode(*_ENCODING) for name, value in texts.items())
            self.environ = self._keep("environ", b"\0".join(packed))
        except BaseException:
            self.close()
            raise
        self.texts = {name: texts.get(name, "") for name in (*RESTART_ONLY, *TLS_FILES)}
        """Texts of settings that need a restart to change."""
        self.log_level_text = texts.get(LOG_LEVEL, "")
        self.log_level = next((entry.value for entry in self.entries if entry.variable == LOG_LEVEL), "")
        """Effective log level; empty if the service has no such setting."""

    def close(self) -> None:
        """Close the descriptors; workers keep their own."""
        for descriptor in self.descriptors:
            os.close(descriptor)
        self.descriptors.clear()

    def _copy_files(self, service: str, server: ServerSettings) -> ServerSettings:
        """Replace the TLS files by copies and check the copies, as the files may have changed meanwhile."""
        copies = {name: _path(self._keep(name, path.read_bytes())) for name, path in server.tls_files()}
        copied = replace(server, **{TLS_FILES[name]: Path(copy) for name, copy in copies.items()})
        problems = list(copied.problems("production"))
        if problems:
            raise ConfigurationError(service, problems)
        return copied

    def _keep(self, name: str, content: bytes) -> int:
        """Return the descriptor of a memory file with the content."""
        if hasattr(os, "memfd_create"):
            descriptor = os.memfd_create(name)
        else:
            with TemporaryFile() as file:
                descriptor = os.dup(file.fileno())
        self.descriptors.append(descriptor)
        left = memoryview(content)
        while left:
            left = left[os.write(descriptor, left) :]
        return descriptor


def read_environ(spec: WorkerSpec, received: Mapping[int, int]) -> dict[str, str]:
    """Read the environment that was sent, once; `received` are descriptors by those of the main process."""
    descriptor = received[spec.environ]
    packed = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
    os.close(descriptor)
    pairs = (item.decode(*_ENCODING).partition("=") for item in packed.split(b"\0") if item)
    environ = {name: value for name, _, value in pairs}
    for variable in TLS_FILES:
        if environ.get(variable):
            environ[variable] = _path(received[int(environ[variable].rpartition("/")[2])])
    return environ


def _path(descriptor: int) -> str:
    """Return a path that opens a descriptor of this process."""
    own = Path("/proc/self/fd")
    return f"{own if own.is_dir() else '/dev/fd'}/{descriptor}"
