"""Granian's server core, driven by our own processes.

Granian's own main process closes the listener at once, cannot end event streams or half-sent requests and
ignores a second signal; its core does none of this and is all that is used here. Its names are private, so
each is looked up once, and what is missing is told in a sentence.
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
"""Seconds a connection may stay idle, and a request head incomplete (one timer for both): above the 60 s that
load balancers keep idle connections for, so that it is they who close."""
MOST_HEAD_BYTES = 64 * 1024
"""Bytes of a request head that are accepted, and of a body that are read ahead. It is looked at between two
reads: above twice as many the answer is 431 for certain. With Granian's own 410 kB a thousand half-sent heads
would take 400 MB and more."""
_BLOCKING_THREADS = 512
_OTHER_FILES = 256
_MOST_CONNECTIONS = 8192


class Granian(NamedTuple):
    """The private names of Granian that are used."""

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
    """Look Granian's names up.

    Raises:
        StartError: When the installed Granian is not one that this package was tested with.
    """
    installed = version("granian")
    if not installed.startswith(SUPPORTED):
        raise StartError(f"granian {installed} is installed, and starkeel-server drives {SUPPORTED}x only")
    found = []
    for module, name in _NAMES:
        try:
            found.append(getattr(import_module(module), name))
        except (ImportError, AttributeError):
            raise StartError(
                f"granian {installed} has no `{module}.{name}`, which starkeel-server drives it by; "
                f"install a {SUPPORTED}x that has it"
            ) from None
    if not hasattr(found[0], "serve_mtr"):
        raise StartError(
            f"granian {installed} has no `ASGIWorker.serve_mtr`; install a {SUPPORTED}x that has it"
        )
    return Granian(*found)


class Engine:
    """Accepts connections and calls the application, in the running event loop.

    Args:
        app: An ASGI application; it is given no lifespan events.
        listener: The socket to accept from; it belongs to the engine from here on.
        tls: Certificate and key; plain HTTP without.
        number: Of the worker, counted from 1; told in Granian's own log lines.
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
        _quieten()

    def start(self) -> None:
        """Begin to accept."""
        scheduler = self._granian.scheduler(self._loop, self._callback, impl_asyncio=True)
        self._worker.serve_mtr(scheduler, self._loop, self._stop)

    def pause(self) -> None:
        """Accept nothing more, and leave connections that there are as they are.

        Granian can only stop altogether, which closes idle connections, and with them one that was accepted a
        moment ago and has its request on the way. So the descriptors it accepts by are made those of a socket
        that nobody connects to; other processes accept from the one it had.
        """
        if self._is_paused:
            return
        self._is_paused = True
        with socket.create_server(("127.0.0.1", 0)) as nobodys:
            nobodys.setblocking(False)
            for descriptor in _descriptors_of(self._inode):
                os.dup2(nobodys.fileno(), descriptor, inheritable=False)

    def stop(self) -> None:
        """Accept nothing more and close idle connections; what is in flight goes on."""
        self._stop.set()

    async def stopped(self, *, timeout_s: float) -> bool:
        """Wait until every connection is closed; whether that came within the time.

        A client that sent half a request head keeps its connection open until the idle timeout.
        """
        try:
            async with asyncio.timeout(timeout_s):
                await self._stopped.wait()
        except TimeoutError:
            return False
        return True

    def _make(self, listener: socket.socket, tls: ServerSettings | None, number: int) -> Any:
        from granian.constants import HTTPModes
        from granian.http import HTTP1Settings

        holder = self._granian.socket_holder(listener.detach(), False, BACKLOG)
        return self._granian.worker(
            number,
            (None, holder),
            None,  # no pipe to main: it would carry Granian's own metrics
            1,  # I/O threads
            _BLOCKING_THREADS,
            1,  # Python threads: ASGI has one
            30,  # seconds until an idle blocking thread ends
            connection_limit(),
            # "auto" never times a silent connection out.
            HTTPModes.http1,
            HTTP1Settings(header_read_timeout=IDLE_TIMEOUT_S * 1000, max_buffer_size=MOST_HEAD_BYTES),
            None,  # HTTP/2
            True,  # WebSockets
            None,  # static files
            *_tls(tls),
            (None, None),  # Granian's own metrics
        )


def _quieten() -> None:
    """Leave it to main to tell of workers coming and going, unless someone asked for Granian's lines."""
    logger = logging.getLogger("_granian")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.WARNING)


def connection_limit() -> int:
    """Connections one worker accepts at a time; more wait in the kernel's backlog.

    Granian counts connections here, idle ones too: its own default of 1024 lets clients that only keep
    connections open starve all others. Beyond the number of files a process may open, accepting fails.
    """
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return _MOST_CONNECTIONS
    return max(128, min(_MOST_CONNECTIONS, files - _OTHER_FILES))


def _descriptors_of(inode: int) -> list[int]:
    """Every descriptor of this process for a socket."""
    try:
        numbers = [int(name) for name in os.listdir("/dev/fd")]
    except OSError:
        return []
    found = []
    for number in numbers:
        # One that was closed meanwhile.
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
