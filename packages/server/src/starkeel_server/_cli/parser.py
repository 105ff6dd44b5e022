"""The command-line program of every service."""

import argparse
import sys
from collections.abc import Callable
from typing import NoReturn

from .._config.service import Service


def run(service: Service) -> NoReturn:
    """Do what the command line says, `serve` when it says nothing, and end the process.

    Args:
        service: The service whose program this is.
    """
    options = _parser(service).parse_args()
    do: Callable[[Service, argparse.Namespace], int] = options.do
    sys.exit(do(service, options))


def _parser(service: Service) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"python -m {service.name}",
        description=f"Serves {service.name}, or does a chore of it. The rest is said by the environment.",
        epilog="Exit codes: 0 done or stopped as asked, 1 failed or crash loop, 2 wrong usage, 65 migration "
        "failed or database newer than the code, 69 database away, 70 a worker had to be killed, 71 port "
        "cannot be bound, 78 wrong configuration, 130 second signal.",
    )
    parser.set_defaults(do=_serve)
    verbs = parser.add_subparsers(title="verbs", metavar="VERB")
    serve = verbs.add_parser("serve", help="serve until a signal says stop (the default)")
    serve.set_defaults(do=_serve)
    config = verbs.add_parser("config", help="print the effective settings and where each comes from")
    config.set_defaults(do=_config)
    migrate = verbs.add_parser("migrate", help="bring the database up to date, and end")
    migrate.add_argument("--sql", action="store_true", help="print what would be run, and run nothing")
    migrate.set_defaults(do=_migrate)
    revision = verbs.add_parser("revision", help="write a new migration from what changed in the models")
    revision.add_argument("message", metavar="MESSAGE", help="what it changes, in a few words")
    revision.set_defaults(do=_revision)
    for verb, said in (
        ("backup", "copy an embedded database to a file, while it is in use"),
        ("restore", "put such a copy in its place, while no process has it open"),
    ):
        copy = verbs.add_parser(verb, help=said)
        copy.add_argument("file", metavar="FILE", help="the copy")
        copy.set_defaults(do=_copy, verb=verb)
    openapi = verbs.add_parser("openapi", help="print the OpenAPI document as JSON; needs no configuration")
    openapi.set_defaults(do=_openapi)
    health = verbs.add_parser("health", help="ask the running service how it is: 0 when fine, else 1")
    health.add_argument(
        "--ready", action="store_true", help="ask whether it is ready, not merely whether it lives"
    )
    health.set_defaults(do=_health)
    return parser


# Each imports what it needs when it is called: `health` must not pay for what `serve` needs.


def _serve(service: Service, _: argparse.Namespace) -> int:
    import gc

    from .._process.signals import SignalWatch

    # Before the rest is imported, which takes a while in which a signal must be honoured, too.
    signals = SignalWatch()

    from .._ipc.spawn import SpareProcess

    # It has far more to import than this process, and most of it whatever the configuration says.
    first = SpareProcess()
    # What is imported from here on stays: looking for garbage in it would only take time.
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

    return copy(service, options.verb, Path(options.file))


def _openapi(service: Service, _: argparse.Namespace) -> int:
    from .commands import openapi

    return openapi(service)


def _health(service: Service, options: argparse.Namespace) -> int:
    from .healthcheck import probe

    return probe(service, ready=options.ready)
