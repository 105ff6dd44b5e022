"""Command line of the dashboard."""

import argparse
import asyncio
import logging
import os
import secrets
import socket
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Final

import msgspec

from ._app.grpc_receiver import GrpcError
from ._app.server import Dashboard
from ._sources.services import Address, Services
from ._store.limits import Limits
from ._store.store import Store

_DEFAULT_PORT: Final = 4318
_LOOPBACK: Final = frozenset(("127.0.0.1", "::1", "localhost"))
_EX_UNAVAILABLE: Final = 69
_MEGABYTE: Final = 1024 * 1024


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the dashboard until a signal arrives, and return the exit code.

    Args:
        arguments: Arguments without the program's name; by default those of the process.
    """
    given = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s %(message)s", stream=sys.stderr)
    try:
        store = Store(_limits(given))
        services = _named(given.service)
    except ValueError as error:
        sys.stderr.write(f"starkeel-dashboard: {error}\n")
        return os.EX_USAGE
    try:
        listener = _listener(given)
    except OSError as error:
        sys.stderr.write(
            f"starkeel-dashboard: cannot listen on {given.host} port {given.port}: {error.strerror}. "
            "Is another dashboard or collector running? Stop it, or choose another port: --port 4319\n"
        )
        return _EX_UNAVAILABLE
    url, token = _url(listener, given.host), _token(given.host)
    grpc_address = f"{given.host}:{given.grpc_port}" if given.grpc_port else ""
    dashboard = Dashboard(
        listener, url, token=token, store=store, services=services, grpc_address=grpc_address
    )

    def introduce() -> None:
        if not given.supervised:
            sys.stdout.write(_introduction(url, token))
            sys.stdout.flush()

    try:
        asyncio.run(dashboard.run(introduce, is_supervised=given.supervised))
    except GrpcError as error:
        sys.stderr.write(f"starkeel-dashboard: {error}\n")
        return _EX_UNAVAILABLE
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="starkeel-dashboard",
        description="One local page with the state, logs, traces, metrics and settings of every service.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {version('starkeel-dashboard')}")
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (127.0.0.1); others need a token"
    )
    parser.add_argument(
        "--port", type=int, default=_DEFAULT_PORT, help=f"port ({_DEFAULT_PORT}); 0: a free one"
    )
    parser.add_argument(
        "--grpc-port", type=int, help="port for OTLP over gRPC, usually 4317; needs the extra `grpc`"
    )
    parser.add_argument(
        "--service",
        action="append",
        default=[],
        metavar="NAME=URL[,ADMIN_URL]",
        help="a service to poll, repeatable",
    )
    parser.add_argument("--span-megabytes", type=int, default=24, help="memory for spans (24)")
    parser.add_argument("--log-megabytes", type=int, default=12, help="memory for log records (12)")
    parser.add_argument("--series", type=int, default=2000, help="number of series of metrics (2000)")
    parser.add_argument(
        "--records-per-second",
        type=int,
        default=20_000,
        help="spans, and log records, that are accepted in a second (20000)",
    )
    parser.add_argument(
        "--supervised", action="store_true", help="exchange messages by standard input and output"
    )
    parser.add_argument("--fd", type=int, help="file descriptor of a socket that already listens")
    return parser


def _limits(given: argparse.Namespace) -> Limits:
    return msgspec.convert(
        {
            "span_bytes": given.span_megabytes * _MEGABYTE,
            "log_bytes": given.log_megabytes * _MEGABYTE,
            "series": given.series,
            "records_per_s": given.records_per_second,
        },
        Limits,
    )


def _named(texts: list[str]) -> Services:
    services = Services()
    for text in texts:
        name, _, urls = text.partition("=")
        url, _, admin_url = urls.partition(",")
        for each in filter(None, (url, admin_url)):
            if not each.startswith(("http://", "https://")):
                raise ValueError(f"--service {text}: {each!r} is no URL; expected NAME=http://HOST:PORT")
        if not name or not url:
            raise ValueError(f"--service {text}: expected NAME=URL or NAME=URL,ADMIN_URL")
        address = Address(name=name, url=url.rstrip("/"), admin_url=admin_url.rstrip("/"))
        services.add(address, is_controlled=False)
    return services


def _listener(given: argparse.Namespace) -> socket.socket:
    if given.fd is not None:
        return socket.socket(fileno=given.fd)
    family = socket.AF_INET6 if ":" in given.host else socket.AF_INET
    return socket.create_server((given.host, given.port), family=family, backlog=256)


def _url(listener: socket.socket, host: str) -> str:
    port = listener.getsockname()[1]
    shown = {"0.0.0.0": socket.gethostname(), "::": socket.gethostname()}.get(host, host)
    return f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"


def _token(host: str) -> str:
    return "" if host in _LOOPBACK else secrets.token_urlsafe(24)


def _introduction(url: str, token: str) -> str:
    lines = [f"dashboard  {url}/{f'?token={token}' if token else ''}", "", "Send to it from any program:", ""]
    lines.append(f"  OTEL_EXPORTER_OTLP_ENDPOINT={url} OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf")
    if token:
        lines.append(f"  OTEL_EXPORTER_OTLP_HEADERS=authorization=Bearer%20{token}")
    return "\n".join([*lines, "", "Ctrl-C stops it.", ""])
