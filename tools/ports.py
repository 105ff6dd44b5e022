"""Whether a port is free, and who has it when it is not."""

import socket

import psutil
from fleet import HOST, Member


def taken(members: list[Member]) -> list[str]:
    """Say for each port that is taken whose it is; nothing when all are free."""
    wanted = [(member.name, port) for member in members for port in (member.port, member.metrics_port)]
    return [
        f"port {port}, wanted by {name}, is taken by {_holder(port)}"
        for name, port in wanted
        if not _is_free(port)
    ]


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _holder(port: int) -> str:
    try:
        listening = psutil.net_connections("tcp")
        pids = {
            c.pid for c in listening if c.laddr and c.laddr.port == port and c.status == psutil.CONN_LISTEN
        }
        pid = next(pid for pid in pids if pid is not None)
        return f"process {pid} ({' '.join(psutil.Process(pid).cmdline())[:120]})"
    except (psutil.Error, StopIteration):
        return "a process of another user"
