"""Command line of every service."""

import os
import signal
import sys
from importlib import import_module
from typing import TYPE_CHECKING, NoReturn

from .._config.service import Service
from .command_names import BUILT_IN

if TYPE_CHECKING:
    import argparse


def run(service: Service) -> NoReturn:
    """Run the command given on the command line, `serve` by default, and exit."""
    _check_inherited(service)
    # Without the parser: importing it would delay the worker.
    is_start = sys.argv[1:] in ([], ["serve"], ["worker"])
    options = None if is_start else _parse(service, sys.argv[1:])
    if options is None or options.run is None:
        _serve(service, serves_requests=sys.argv[1:] != ["worker"])
    sys.exit(_run_command(options.run, service, options))


def _parse(service: Service, words: list[str]) -> "argparse.Namespace":
    """Parse a built-in command; a word that is none of them is a command of a plugin, or a mistake."""
    parser = create_parser(service)
    if words[0] in {"-h", "--help"}:
        from .commands import plugin_commands

        if names := plugin_commands(service):
            parser.epilog = f"Commands of plugins: {', '.join(names)}. {parser.epilog}"
    elif not words[0].startswith("-") and words[0] not in BUILT_IN:
        import argparse

        return argparse.Namespace(run=".commands:plugin_command", words=words)
    return parser.parse_args(words)


def _run_command(path: str, service: Service, options: "argparse.Namespace") -> int:
    # Imported lazily: `health` must not import what other commands need.
    module, _, function = path.partition(":")
    try:
        code: int = getattr(import_module(module, __package__), function)(service, options)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader, such as `head`, has ended: exit as if by SIGPIPE, and have the interpreter not try to
        # write the rest.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    return code


def _check_inherited(service: Service) -> None:
    from .._config.exit_codes import INVALID_CONFIGURATION
    from .._process.inherited import inherited_problem, set_up_inherited

    set_up_inherited()
    if problem := inherited_problem():
        sys.stderr.write(f"{service.name} cannot run: {problem}\n")
        sys.exit(INVALID_CONFIGURATION)


def create_parser(service: Service) -> "argparse.ArgumentParser":
    import argparse

    parser = argparse.ArgumentParser(
        prog=f"python -m {service.name}",
        description=f"Serves {service.name} or runs one of its commands; configured by environment variables",
        epilog="Exit codes: 0 success, 1 failure or crash loop, 2 wrong usage, 65 migration failed or "
        "database newer than code, 69 database unavailable, 70 a worker had to be killed, 71 port cannot be "
        "bound, 78 invalid configuration, 130 second Ctrl-C or SIGQUIT",
    )
    parser.set_defaults(run=None)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    def add(name: str, text: str, run: str | None) -> "argparse.ArgumentParser":
        command = commands.add_parser(name, help=text)
        command.set_defaults(run=run)
        return command

    add("serve", "serve until a stop signal (the default)", None)
    add("worker", "do the work that is not a request, such as jobs, without an application port", None)
    add("config", "print the effective settings and their sources", ".commands:config")
    migrate = add("migrate", "migrate the database and exit", ".commands:migrate")
    migrate.add_argument("--sql", action="store_true", help="print the SQL instead of running it")
    revision = add("revision", "write a new migration from the changes of the models", ".commands:revision")
    revision.add_argument("message", metavar="MESSAGE", help="short description of the change")
    revision.add_argument(
        "--empty", action="store_true", help="write one without operations, for example for changes of data"
    )
    backup = add("backup", "copy an embedded database to a file while it is in use", ".commands:copy")
    restore = add("restore", "restore such a copy while no process has the database open", ".commands:copy")
    for name, copy in (("backup", backup), ("restore", restore)):
        copy.add_argument("file", metavar="FILE", help="path of the copy")
        copy.set_defaults(hook=name)
    add("openapi", "print the OpenAPI document as JSON; needs no configuration", ".commands:openapi")
    add(
        "asyncapi",
        "print the AsyncAPI document of its events as JSON; needs no configuration",
        ".commands:asyncapi",
    )
    health = add(
        "health", "probe the running service: exit code 0 if healthy, else 1", ".healthcheck:healthcheck"
    )
    health.add_argument("--ready", action="store_true", help="check readiness instead of liveness")
    return parser


def _serve(service: Service, *, serves_requests: bool) -> NoReturn:
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

    serve(service, signals, first, serves_requests=serves_requests)
