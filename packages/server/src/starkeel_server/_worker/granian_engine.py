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
from pathlib import Path
from typing import Any

import structlog

from .._compat import GRANIAN_LOGGER, granian
from .._config.settings import ServerSettings
from .._process.inherited import raise_file_limit
from .._process.sockets import BACKLOG

log = structlog.get_logger(__name__)

IDLE_TIMEOUT_S = 75
"""Seconds a connection may be idle. Load balancers close idle connections after 60 s by default and should be
the ones that close. Granian's timer does not stop at the first byte of a head; heads have their own, shorter
timeout in `LateHeads`."""
MAX_HEAD_BYTES = 64 * 1024
"""Maximum bytes of a request head, and of a body read ahead. It is checked between two reads: a head of twice
the size always gets a 431. With Granian's default of 410 kB, a thousand half-sent heads would take 400 MB."""
_KEEPALIVE_S = 30
"""Seconds of silence after which the kernel checks that a peer still exists, as of an event stream."""
_BLOCKING_THREADS = 512
_OTHER_FILES = 256
_LOW_FILES = 1024
"""Limit of open files below which it is logged as a warning; the usual default."""


class Engine:
    """Accepts connections and calls the application in the running event loop.

    Args:
        app: ASGI application; it receives no lifespan events.
        listener: Socket to accept from; owned by the engine from now on.
        number: Number of the worker, from 1, for Granian's log lines.
        uses_websockets: Whether an upgrade to a WebSocket is accepted; otherwise it is a plain request.

    Attributes:
        port: The port of the listener.
    """

    def __init__(
        self,
        app: Callable[..., Any],
        listener: socket.socket,
        settings: ServerSettings,
        *,
        number: int,
        uses_websockets: bool = True,
    ) -> None:
        self._granian = granian()
        self._loop = asyncio.get_running_loop()
        self._stop = self._granian.signal()
        self._stopped = asyncio.Event()
        self._stop.add_cb(lambda: self._loop.call_soon_threadsafe(self._stopped.set))
        self._callback = self._granian.watch(self._granian.wrap(app, {"url_path_prefix": None}, {}, None))
        self._inode = os.fstat(listener.fileno()).st_ino
        self.port: int = listener.getsockname()[1]
        _raise_file_limit(settings.max_connections)
        self._worker = self._make(listener, settings, number, uses_websockets=uses_websockets)
        if settings.tls_cert_file is not None:
            set_certificate_expiry(settings.tls_cert_file)
        # Hide Granian's INFO lines about workers, which the main process logs, unless a level is set.
        logger = logging.getLogger(GRANIAN_LOGGER)
        logger.setLevel(logger.level or logging.WARNING)

    def start(self) -> None:
        """Start to accept connections."""
        scheduler = self._granian.scheduler(self._loop, self._callback, impl_asyncio=True)
        self._worker.serve_str(scheduler, self._loop, self._stop)

    def pause(self) -> None:
        """Stop accepting and keep open connections.

        Granian can only stop completely, which closes idle connections, including one that was just accepted
        and whose request is on the way. Its listening descriptors are therefore replaced by those of an
        unused socket; other processes keep accepting from the original one.
        """
        descriptors = _descriptors_of(self._inode)
        if not descriptors:
            log.warning("replaced worker still accepts connections: no listening descriptor found")
        with socket.create_server(("127.0.0.1", 0)) as unused:
            unused.setblocking(False)
            for descriptor in descriptors:
                os.dup2(unused.fileno(), descriptor, inheritable=False)

    def stop(self) -> None:
        """Stop accepting and close idle connections; requests in flight continue."""
        self._stop.set()

    async def wait_stopped(self, *, timeout_s: float) -> None:
        """Wait until every connection is closed, for at most `timeout_s`.

        A client that sent half a request head keeps its connection open until its timeout.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._stopped.wait()

    def _make(
        self, listener: socket.socket, settings: ServerSettings, number: int, *, uses_websockets: bool
    ) -> Any:
        from granian.constants import HTTPModes, SSLProtocols
        from granian.http import HTTP1Settings

        set_tcp_options(listener, write_timeout_s=settings.write_timeout_s)
        holder = self._granian.socket_holder(listener.detach(), False, BACKLOG)
        return self._granian.worker(
            worker_id=number,
            sock=(None, holder),
            ipc=None,  # pipe to Granian's main process, for its metrics
            threads=1,
            blocking_threads=_BLOCKING_THREADS,
            py_threads=1,
            py_threads_idle_timeout=30,
            backpressure=connection_limit(settings.max_connections),
            # "auto" has no timeout for silent connections.
            http_mode=HTTPModes.http1,
            http1_opts=HTTP1Settings(
                header_read_timeout=IDLE_TIMEOUT_S * 1000, max_buffer_size=MAX_HEAD_BYTES
            ),
            http2_opts=None,
            websockets_enabled=uses_websockets,
            static_files=None,
            ssl_enabled=settings.uses_tls,
            ssl_cert=_absolute(settings.tls_cert_file),
            ssl_key=_absolute(settings.tls_key_file),
            ssl_key_password=None,
            ssl_protocol_min=str(SSLProtocols.tls12),
            ssl_ca=_absolute(settings.tls_client_ca_file),
            ssl_crl=[],
            ssl_client_verify=settings.tls_client_ca_file is not None,
            metrics=(None, None),
        )


def set_certificate_expiry(chain: Path) -> None:
    """Set the metric to the earliest expiry of a certificate chain in PEM.

    The service runs without the metric if the chain cannot be read or `cryptography` is not installed.
    """
    from prometheus_client import Gauge

    try:
        from cryptography.x509 import load_pem_x509_certificates

        certificates = load_pem_x509_certificates(chain.read_bytes())
        expires_at = min(certificate.not_valid_after_utc for certificate in certificates).timestamp()
    except ImportError:
        reason = "cryptography is not installed; install starkeel-server[tls]"
        log.warning("certificate expiry not reported", reason=reason)
    except (OSError, ValueError) as error:
        log.warning("certificate expiry not reported", reason=str(error))
    else:
        gauge = Gauge(
            "starkeel_certificate_not_after_timestamp_seconds",
            "When the served certificate, or one of its chain, expires, since 1970.",
            multiprocess_mode="livemin",
        )
        gauge.set(expires_at)


def set_tcp_options(listener: socket.socket, *, write_timeout_s: float) -> None:
    """Have the kernel drop peers that read nothing for `write_timeout_s`, and that no longer exist.

    Accepted sockets inherit the options. Granian has no write timeout.
    """
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    names = ("TCP_KEEPIDLE", _KEEPALIVE_S), ("TCP_KEEPINTVL", _KEEPALIVE_S)
    for name, value in (*names, ("TCP_USER_TIMEOUT", max(1, round(write_timeout_s * 1000)))):
        # Linux has all of them (tcp(7)).
        if (option := getattr(socket, name, None)) is not None:
            listener.setsockopt(socket.IPPROTO_TCP, option, value)
    if not hasattr(socket, "TCP_USER_TIMEOUT"):
        log.warning("write timeout not enforced", reason="the operating system has no TCP_USER_TIMEOUT")


def connection_limit(most: int) -> int:
    """Return the maximum number of connections of one worker; more wait in the kernel's backlog.

    Granian counts idle connections too: with its default of 1024, clients that only keep connections open
    starve all others. Accepting fails beyond the limit of open files.
    """
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    # The kernel's limit may be infinite, which is -1.
    return most if files < 0 else min(most, max(files // 2, files - _OTHER_FILES))


def _raise_file_limit(connections: int) -> None:
    limit = raise_file_limit(connections + _OTHER_FILES)
    if limit < _LOW_FILES:
        log.warning("limit of open files is low", limit=limit, connections=connection_limit(connections))


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


def _absolute(path: Path | None) -> str | None:
    return None if path is None else str(path.absolute())
