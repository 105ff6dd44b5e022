"""The command `check`."""

import argparse
import ssl

from .._config.model import Config
from .._errors import UsageError
from .._run.budget import Budget
from .._target.address import Address, refused_attacks, resolve
from .._target.client import Client
from .._target.exchange import Connector
from .._target.service import Service
from .command import Trial, TrialCommand


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("url", metavar="URL", nargs="?", help="base URL (default: url of seatrial.toml)")
    parser.add_argument("--admin", metavar="URL", help="base URL of a separate port for operators")
    add_ownership(parser)


def add_ownership(parser: argparse.ArgumentParser) -> None:
    """Add the option that allows hostile requests to other hosts."""
    parser.add_argument(
        "--i-own-this",
        action="store_true",
        help="allow hostile requests to the hosts in allowed_targets of seatrial.toml",
    )


def _prepare(arguments: argparse.Namespace, config: Config, budget: Budget) -> Trial:
    service = open_service(arguments.url, arguments.admin, config, budget)
    clients = [service.client, *([service.admin] if service.admin else [])]
    addresses = [client.address for client in clients]
    return Trial(
        target=service.client.address.url,
        subject=service,
        found=service.found,
        refused_attacks=refused_attacks(addresses, config.allowed_targets, is_owner=arguments.i_own_this),
        secrets=lambda: service.secrets,
    )


def open_service(url: str | None, admin_url: str | None, config: Config, budget: Budget) -> Service:
    """Return a service that answers, after the usual paths were searched.

    Args:
        url: Base URL, or None for that of the configuration.
        admin_url: Base URL of the port for operators, or None for that of the configuration.
        config: The configuration.
        budget: Counts the requests.

    Raises:
        UsageError: There is no URL, or the service cannot be reached.
    """
    url = url or config.url
    if not url:
        raise UsageError("no URL: pass it, as in `seatrial check http://localhost:8000`, or set url")
    address = resolve(url, origin="URL")
    admin_url = admin_url or config.admin_url
    admin = resolve(admin_url, origin="--admin") if admin_url else None
    client = _client(address, config, budget)
    try:
        client.get("/")
    except OSError as error:
        raise UsageError(f"cannot reach {address.url}: {error}") from error
    service = Service(client, _client(admin, config, budget) if admin else None, config)
    try:
        service.search()
    except OSError as error:
        raise UsageError(f"cannot read {address.url}: {error}") from error
    return service


def _client(address: Address, config: Config, budget: Budget) -> Client:
    return Client(Connector(address, _context(address, config), config.timeout_s), budget)


def _context(address: Address, config: Config) -> ssl.SSLContext | None:
    if address.scheme != "https":
        return None
    # The certificate is judged by rows of its own: a wrong one must not hide all other rows.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if config.tls.ca_file:
        try:
            context.load_verify_locations(config.tls.ca_file)
        except OSError as error:
            raise UsageError(f"tls.ca_file: {config.tls.ca_file}: {error}") from error
    return context


CHECK = TrialCommand("check", "Judge a running service without harming it.", _add_arguments, _prepare)
