"""Listening sockets."""

import socket

from ._exits import PORT_TAKEN, StartError


def listen(host: str, port: int, *, variable: str, backlog: int) -> socket.socket:
    """Bind a socket and listen.

    Args:
        host: An address or a name; `::` takes IPv4 as well.
        port: The port; 0 for any.
        variable: The variable to change when that fails.
        backlog: Connections the kernel keeps until they are accepted.

    Raises:
        StartError: When the address cannot be had.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        dual = family is socket.AF_INET6 and host == "::" and socket.has_dualstack_ipv6()
        return socket.create_server(address[:2], family=family, backlog=backlog, dualstack_ipv6=dual)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise StartError(
            f"{shown(host, port)} cannot be bound: {why}; set {variable} to change it", PORT_TAKEN
        ) from error


def address_of(listener: socket.socket) -> str:
    """Where a socket listens, as `host:port`."""
    host, port = listener.getsockname()[:2]
    return shown(host, port)


def shown(host: str, port: int) -> str:
    """`host:port`, an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
