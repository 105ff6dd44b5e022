"""Listening sockets."""

import socket

from .._config.exit_codes import PORT_TAKEN, StartError

BACKLOG = 1024


class ListenSocket:
    """A port that will be listened on; its socket is there before, for workers to inherit.

    Until `open` connections are refused.

    Args:
        host: An address or a name; `::` takes IPv4 as well.
        port: The port; 0 for any.
        variable: The variable to change when it cannot be had.

    Raises:
        StartError: When there is no such address.
    """

    def __init__(self, host: str, port: int, *, variable: str) -> None:
        self._address_text = shown(host, port)
        self._variable = variable
        try:
            family, _, _, _, address = socket.getaddrinfo(
                host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            self._address = address[:2]
            self.socket = socket.socket(family, socket.SOCK_STREAM)
        except OSError as error:
            raise self._refused(error) from error
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family is socket.AF_INET6:
            takes_both = host == "::" and socket.has_dualstack_ipv6()
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not takes_both)

    def open(self, *, backlog: int) -> None:
        """Bind it and listen.

        Args:
            backlog: Connections the kernel keeps until they are accepted.

        Raises:
            StartError: When the address cannot be had.
        """
        try:
            self.socket.bind(self._address)
            self.socket.listen(backlog)
        except OSError as error:
            raise self._refused(error) from error

    @property
    def address(self) -> str:
        """Where it listens, as `host:port`."""
        host, port = self.socket.getsockname()[:2]
        return shown(host, port)

    def _refused(self, error: OSError) -> StartError:
        why = (error.strerror or str(error)).lower()
        return StartError(
            f"{self._address_text} cannot be bound: {why}; set {self._variable} to change it", PORT_TAKEN
        )


def shown(host: str, port: int) -> str:
    """`host:port`, an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
