"""Listening sockets."""

import socket
from errno import EADDRNOTAVAIL

from .._config.exit_codes import PORT_UNAVAILABLE, StartError

BACKLOG = 1024
"""Connections the kernel queues for the application port until a worker accepts them."""


class ListenSocket:
    """A TCP socket that workers inherit before it listens; connections are refused until `open`.

    Args:
        host: Address or host name; `::` accepts IPv4 as well.
        port: 0 for any free port.
        variable: Environment variable named in the error message.

    Raises:
        StartError: The host cannot be resolved, or no socket can be created.
    """

    def __init__(self, host: str, port: int, *, variable: str) -> None:
        self._display_address = format_address(host, port)
        self._variable = variable
        try:
            family, _, _, _, address = socket.getaddrinfo(
                host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            self._address = address[:2]
            self.socket = socket.socket(family, socket.SOCK_STREAM)
        except OSError as error:
            raise self._start_error(error) from error
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family is socket.AF_INET6:
            is_dual_stack = host == "::" and socket.has_dualstack_ipv6()
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not is_dual_stack)

    def open(self, *, backlog: int) -> None:
        """Bind the address and listen, with `backlog` connections queued until they are accepted.

        Raises:
            StartError: The address cannot be bound.
        """
        try:
            self.socket.bind(self._address)
            self.socket.listen(backlog)
        except OSError as error:
            raise self._start_error(error) from error

    @property
    def address(self) -> str:
        host, port = self.socket.getsockname()[:2]
        return format_address(host, port)

    def _start_error(self, error: OSError) -> StartError:
        reason = (error.strerror or str(error)).lower()
        is_of_host = isinstance(error, socket.gaierror) or error.errno == EADDRNOTAVAIL
        variable = self._variable.replace("PORT", "HOST") if is_of_host else self._variable
        return StartError(
            f"{self._display_address} cannot be bound: {reason}; set {variable} to another value",
            PORT_UNAVAILABLE,
        )


def format_address(host: str, port: int) -> str:
    """Return `host:port`, with an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
