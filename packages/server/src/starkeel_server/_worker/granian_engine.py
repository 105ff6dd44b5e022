"""Granian's server core, run by this package's own processes.

Granian's main process closes the listener immediately, cannot end event streams or half-sent requests and
ignores a second signal, so only its core is used. The names are private; each is looked up once, with an
error message for a missing one.
"""

import asyncio
import logging
import os
import resource
import socket
import stat
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from importlib.metadata import version
from typing import Any, NamedTuple

from .._config.exit_codes import StartError
from .._config.settings import ServerSettings
from .._process.sockets import BACKLOG

SUPPORTED = "2.8."
IDLE_TIMEOUT_S = 75
"""Seconds a connection may be idle, or a request head incomplete (one timer). Load balancers close idle
connections after 60 s by default and should be the ones that close."""
MAX_HEAD_BYTES = 64 * 1024
"""Maximum bytes of a request head, and of a body read ahead. It is checked between two reads: a head of twice
the size always gets a 431. With Granian's default of 410 kB, a thousand half-sent heads would take 400 MB."""
_BLOCKING_THREADS = 512
_OTHER_FILES = 256
_MAX_CONNECTIONS = 8192


class Granian(NamedTuple):
    """Private names of Granian in use."""

    worker: Any
    socket_holder: Any
    signal: Any
    scheduler: Any
    watch: Any
    wrap: Any


_NAMES = (
    ("granian._granian", "ASGIWorker"),
    ("granian._granian", "SocketHolder"),
    ("granian._granian", "WorkerSignal"),
    ("granian._futures", "_new_cbscheduler"),
    ("granian._futures", "_future_watcher_wrapper"),
    ("granian.asgi", "_callback_wrapper"),
)


def granian() -> Granian:
    """Look up Granian's private names.

    Raises:
        StartError: The installed Granian is not supported.
    """
    installed = version("granian")
    if not installed.startswith(SUPPORTED):
        raise StartError(f"granian {installed} is installed, but starkeel-server supports {SUPPORTED}x only")
    found = []
    for module, name in _NAMES:
        try:
            found.append(getattr(import_module(module), name))
        except (ImportError, AttributeError):
            raise StartError(
                f"granian {installed} has no `{module}.{name}`, which starkeel-server needs; "
                f"install a {SUPPORTED}x that has it"
            ) from None
    if not hasattr(found[0], "serve_mtr"):
        raise StartError(
            f"granian {installed} has no `ASGIWorker.serve_mtr`; install a {SUPPORTED}x that has it"
        )
    return Granian(*found)


class Engine:
    """Accepts connections and calls the application in the running event loop.

    Args:
        app: ASGI application; it receives no lifespan events.
        listener: Socket to accept from; owned by the engine from now on.
        tls: Settings with certificate and key; None for plain HTTP.
        number: Number of the worker, from 1, for Granian's log lines.
    """

    def __init__(
        self, app: Callable[..., Any], listener: socket.socket, tls: ServerSettings | None, *, number: int
    ) -> None:
        self._granian = granian()
        self._loop = asyncio.get_running_loop()
        self._stop = self._granian.signal()
        self._stopped = asyncio.Event()
        self._stop.add_cb(lambda: self._loop.call_soon_threadsafe(self._stopped.set))
        self._callback = self._granian.watch(self._granian.wrap(app, {"url_path_prefix": None}, {}, None))
        self._inode = os.fstat(listener.fileno()).st_ino
        self._is_paused = False
        self._worker = self._make(listener, tls, number)
        _set_log_level()

    def start(self) -> None:
        """Start to accept connections."""
        scheduler = self._granian.scheduler(self._loop, self._callback, impl_asyncio=True)
        self._worker.serve_mtr(scheduler, self._loop, self._stop)

    def pause(self) -> None:
        """Stop accepting and keep open connections.

        Granian can only stop completely, which closes idle connections, including one that was just accepted
        and whose request is on the way. Its listening descriptors are therefore replaced by those of an
        unused socket; other processes keep accepting from the original one.
        """
        if self._is_paused:
            return
        self._is_paused = True
        with socket.create_server(("127.0.0.1", 0)) as unused:
            unused.setblocking(False)
            for descriptor in _descriptors_of(self._inode):
                os.dup2(unused.fileno(), descriptor, inheritable=False)

    def stop(self) -> None:
        """Stop accepting and close idle connections; requests in flight continue."""
        self._stop.set()

    async def wait_stopped(self, *, timeout_s: float) -> None:
        """Wait until every connection is closed, for at most `timeout_s`.

        A client that sent half a request head keeps its connection open until the idle timeout.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._stopped.wait()

    def _make(self, listener: socket.socket, tls: ServerSettings | None, number: int) -> Any:
        from granian.constants import HTTPModes
        from granian.http import HTTP1Settings

        holder = self._granian.socket_holder(listener.detach(), False, BACKLOG)
        return self._granian.worker(
            number,
            (None, holder),
            None,  # pipe to Granian's main process, for its metrics
            1,  # I/O threads
            _BLOCKING_THREADS,
            1,  # Python threads: ASGI has one
            30,  # idle timeout of a blocking thread, seconds
            connection_limit(),
            # "auto" has no timeout for silent connections.
            HTTPModes.http1,
            HTTP1Settings(header_read_timeout=IDLE_TIMEOUT_S * 1000, max_buffer_size=MAX_HEAD_BYTES),
            None,  # HTTP/2
            True,  # WebSockets
            None,  # static files
            *_tls(tls),
            (None, None),  # Granian's own metrics
        )


def _set_log_level() -> None:
    """Hide Granian's INFO lines about workers, which the main process logs, unless a level is set."""
    logger = logging.getLogger("_granian")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.WARNING)


def connection_limit() -> int:
    """Return the maximum number of connections of one worker; more wait in the kernel's backlog.

    Granian counts idle connections too: with its default of 1024, clients that only keep connections open
    starve all others. Accepting fails beyond the limit of open files.
    """
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return _MAX_CONNECTIONS
    return max(128, min(_MAX_CONNECTIONS, files - _OTHER_FILES))


def _descriptors_of(inode: int) -> list[int]:
    """Return every descriptor of this process for a socket."""
    try:
        numbers = [int(name) for name in os.listdir("/dev/fd")]
    except OSError:
        return []
    found = []
    for number in numbers:
        # It may have been closed meanwhile.
        with suppress(OSError):
            status = os.fstat(number)
            if stat.S_ISSOCK(status.st_mode) and status.st_ino == inode:
                found.append(number)
    return found


def _tls(settings: ServerSettings | None) -> tuple[Any, ...]:
    from granian.constants import SSLProtocols

    minimum = str(SSLProtocols.tls12)
    if settings is None or settings.tls_cert_file is None or settings.tls_key_file is None:
        return (False, None, None, None, minimum, None, [], False)
    authorities = settings.tls_client_ca_file
    return (
        True,
        str(settings.tls_cert_file.absolute()),
        str(settings.tls_key_file.absolute()),
        None,  # passphrase
        minimum,
        None if authorities is None else str(authorities.absolute()),
        [],  # revocations
        authorities is not None,
    )
