"""The open connections of this process, read from its descriptors.

Granian accepts connections outside of Python and does not report them; Linux lists every descriptor of a
process, and the state of its TCP connection.
"""

import os
import socket
import stat
from collections.abc import Callable, Iterable
from contextlib import suppress
from fcntl import ioctl
from ipaddress import IPv6Address, ip_address
from struct import Struct
from termios import FIONREAD
from typing import Final, NamedTuple

_DESCRIPTORS: Final = "/proc/self/fd"
_INFO_BYTES: Final = 152
_INFO: Final = Struct("=24xI16xI4xI72xQ8xI4x")
"""`struct tcp_info` of Linux: unacknowledged segments, milliseconds since data was sent and received,
received bytes, bytes not sent yet."""
_IPV6_CLIENT_PREFIX: Final = 64
_PENDING_S: Final = 1.0
_IDLE_S: Final = 0.25
"""Seconds without a response from which a connection is idle; the first if the client has sent something
since, which may be a request on its way to the application."""


class TcpState(NamedTuple):
    """State of a connection, as the kernel reports it.

    Args:
        sent_s: Seconds since data was sent, or the connection was accepted; `received_s` likewise.
        taken_bytes: Received bytes that the server has read.
    """

    is_flushed: bool
    sent_s: float
    received_s: float
    taken_bytes: int

    @property
    def is_idle(self) -> bool:
        """Whether the client neither receives a response nor can have a request on its way."""
        return self.is_flushed and self.sent_s >= (_IDLE_S if self.received_s >= self.sent_s else _PENDING_S)


class Connection(NamedTuple):
    """A socket of this process.

    Args:
        peer: Address and port of the other end; `None` for what is no connection to the service.
        client: The address; of IPv6 its /64, which one client usually controls (RFC 6177).
    """

    descriptor: int
    inode: int
    peer: tuple[str, int] | None = None
    client: str = ""

    @property
    def address(self) -> str:
        """The address of the other end."""
        return "" if self.peer is None else self.peer[0]

    def state(self) -> TcpState | None:
        """Return the state of the connection; `None` if it was closed meanwhile."""
        try:
            borrowed = socket.socket(socket.AF_INET, socket.SOCK_STREAM, fileno=self.descriptor)
        except OSError:
            return None
        try:
            unacknowledged, sent_ms, received_ms, received, unsent = _INFO.unpack(
                borrowed.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO_BYTES)
            )
            unread = int.from_bytes(ioctl(self.descriptor, FIONREAD, bytes(4)), "little")
            # Last, as the descriptor may belong to another socket now.
            if os.fstat(self.descriptor).st_ino != self.inode:
                return None
        except OSError:
            return None
        finally:
            borrowed.detach()
        return TcpState(
            not unacknowledged and not unsent, sent_ms / 1000, received_ms / 1000, received - unread
        )

    def end(self) -> bool:
        """Shut the connection down, which makes the server close it; return whether it was still open."""
        # Of a duplicate, so that the descriptor cannot become another socket's after the comparison.
        with suppress(OSError), socket.socket(fileno=os.dup(self.descriptor)) as duplicate:
            if os.fstat(duplicate.fileno()).st_ino == self.inode:
                duplicate.shutdown(socket.SHUT_RDWR)
                return True
        return False


class Connections:
    """The connections to a port of this process.

    Args:
        port: The port.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._known: dict[int, Connection] = {}
        self._found: dict[int, Connection] = {}
        self._left: list[str] = []

    @staticmethod
    def can_be_read() -> bool:
        """Return whether the operating system lists the descriptors of a process."""
        return os.path.isdir(_DESCRIPTORS)

    def scan(self, count: int) -> bool:
        """Read at most `count` descriptors; return whether all were read since the last `True`."""
        if not self._left:
            self._found, self._left = {}, os.listdir(_DESCRIPTORS)
        self._left, now = self._left[:-count], self._left[-count:]
        for descriptor in map(int, now):
            with suppress(OSError):
                status = os.fstat(descriptor)
                if stat.S_ISSOCK(status.st_mode):
                    known = self._known.get(descriptor)
                    if known is None or known.inode != status.st_ino:
                        known = self._read(descriptor, status.st_ino)
                    self._found[descriptor] = known
        if not self._left:
            self._known = self._found
        return not self._left

    def open(self) -> list[Connection]:
        """Return the connections that the last complete scan found."""
        return [connection for connection in self._known.values() if connection.peer is not None]

    def _read(self, descriptor: int, inode: int) -> Connection:
        borrowed = socket.socket(fileno=descriptor)
        try:
            if (
                borrowed.family in {socket.AF_INET, socket.AF_INET6}
                and borrowed.getsockname()[1] == self._port
            ):
                address, port = borrowed.getpeername()[:2]
                return Connection(descriptor, inode, (address, port), _client_of(address))
        except OSError:
            # The listener, or a connection that has ended.
            return Connection(descriptor, inode)
        finally:
            borrowed.detach()
        return Connection(descriptor, inode)


def by_precedence(
    idle: Iterable[tuple[float, Connection]], is_trusted: Callable[[str], bool]
) -> list[Connection]:
    """Return idle connections, given with their idle seconds, in the order in which they are to be closed.

    The address with the most comes first, so that all addresses keep equally many; of each address the one
    that was idle for longest; those of trusted proxies, which have many clients, last.
    """
    ranks: dict[str, int] = {}
    ranked = []
    for _, connection in sorted(idle, key=lambda pair: pair[0]):
        rank = ranks[connection.client] = ranks.get(connection.client, -1) + 1
        ranked.append((not is_trusted(connection.address), rank, connection))
    return [connection for *_, connection in sorted(ranked, reverse=True)]


def _client_of(address: str) -> str:
    parsed = ip_address(address.partition("%")[0])
    if not isinstance(parsed, IPv6Address):
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    bits = 128 - _IPV6_CLIENT_PREFIX
    return f"{IPv6Address(int(parsed) >> bits << bits)}"
