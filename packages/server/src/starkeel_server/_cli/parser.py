"""Command line of every service."""

import argparse
import sys
from collections.abc import Callable
from typing import NoReturn

from .._config.service import Service


def run(service: Service) -> NoReturn:
    """Run the command given on the command line, `serve` by default, and exit.

    Args:
        service: The service to run.
    """
    options = _parser(service).parse_args()
    command: Callable[[Service, argparse.Namespace], int] = options.command
    sys.exit(command(service, options))


def _parser(service: Service) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"python -m {service.name}",
        description=f"Serves {service.name} or runs one of its commands; configured by environment variables",
        epilog="Exit codes: 0 success, 1 failure or crash loop, 2 wrong usage, 65 migration failed or "
        "database newer than code, 69 database unavailable, 70 a worker had to be killed, 71 port cannot be "
        "bound, 78 invalid configuration, 130 second signal",
    )
    parser.set_defaults(command=_serve)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    serve = commands.add_parser("serve", help="serve until a stop signal (the default)")
    serve.set_defaults(command=_serve)
    config = commands.add_parser("config", help="print the effective settings and their sources")
    config.set_defaults(command=_config)
    migrate = commands.add_parser("migrate", help="migrate the database and exit")
    migrate.add_argument("--sql", action="store_true", help="print the SQL instead of running it")
    migrate.set_defaults(command=_migrate)
    revision = commands.add_parser("revision", help="write a new migration from the changes of the models")
    revision.add_argument("message", metavar="MESSAGE", help="short description of the change")
    revision.set_defaults(command=_revision)
    for name, text in (
        ("backup", "copy an embedded database to a file while it is in use"),
        ("restore", "restore such a copy while no process has the database open"),
    ):
        copy = commands.add_parser(name, help=text)
        copy.add_argument("file", metavar="FILE", help="path of the copy")
        copy.set_defaults(command=_copy, hook=name)
    openapi = commands.add_parser(
        "openapi", help="print the OpenAPI document as JSON; needs no configuration"
    )
    openapi.set_defaults(command=_openapi)
    health = commands.add_parser("health", help="probe the running service: exit code 0 if healthy, else 1")
    health.add_argument("--ready", action="store_true", help="check readiness instead of liveness")
    health.set_defaults(command=_health)
    return parser


# Imports are lazy: `health` must not import what `serve` needs.


def _serve(service: Service, _: argparse.Namespace) -> int:
    import gc

    from .._process.signals import SignalDispatcher

    # Before the other imports, which take a while: a signal must be handled meanwhile.
    signals = SignalDispatcher()

    from .._ipc.spawn import SpareProcess

    # The first worker imports far more than this process, most of it independent of the configuration.
    first = SpareProcess()
    # Imported modules are not garbage; collecting only takes time.
    gc.disable()

    from .serve import serve

    serve(service, signals, first)


def _config(service: Service, _: argparse.Namespace) -> int:
    from .commands import config

    return config(service)


def _migrate(service: Service, options: argparse.Namespace) -> int:
    from .commands import migrate, migration_sql

    return migration_sql(service) if options.sql else migrate(service)


def _revision(service: Service, options: argparse.Namespace) -> int:
    from .commands import revision

    return revision(service, options.message)


def _copy(service: Service, options: argparse.Namespace) -> int:
    from pathlib import Path

    from .commands import copy

    return copy(service, options.hook, Path(options.file))


def _openapi(service: Service, _: argparse.Namespace) -> int:
    from .commands import openapi

    return openapi(service)


def _health(service: Service, options: argparse.Namespace) -> int:
    from .healthcheck import healthcheck

    return healthcheck(service, ready=options.ready)
