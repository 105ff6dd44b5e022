"""Parser and entry point of the command line."""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version

from .._errors import UsageError
from . import catalogue, initialize, run
from .check import CHECK
from .command import TrialCommand, run_command
from .drill import DRILL
from .image import IMAGE
from .manifests import MANIFESTS
from .options import add_run_options

COMMANDS: tuple[TrialCommand, ...] = (CHECK, DRILL, IMAGE, MANIFESTS)
COULD_NOT_RUN = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code.

    0: all rows passed that must. 1: a row failed. 2: it could not run.

    Args:
        arguments: Arguments without the program's name; by default those of the process.
    """
    parser = _parser()
    given = parser.parse_args(arguments)
    try:
        if given.command == "rows":
            sys.stdout.write(catalogue.list_rows(as_json=given.json))
            return 0
        if given.command == "explain":
            sys.stdout.write(catalogue.explain(given.row))
            return 0
        if given.command == "init":
            sys.stdout.write(initialize.run(given))
            return 0
        if given.command == "run":
            return run.run(given)
        return run_command(next(command for command in COMMANDS if command.name == given.command), given)
    except UsageError as error:
        sys.stderr.write(f"seatrial: {error}\n")
        return COULD_NOT_RUN
    except KeyboardInterrupt:
        sys.stderr.write("seatrial: interrupted\n")
        return COULD_NOT_RUN
    except BrokenPipeError:
        # The reader of standard output has closed it, such as `head`.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return COULD_NOT_RUN


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="seatrial",
        description="The production checklist as a program: a verdict for each row, and the evidence for it.",
    )
    parser.add_argument("--version", action="version", version=f"seatrial {version('seatrial')}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in COMMANDS:
        subparser = commands.add_parser(command.name, help=command.help, description=command.help)
        command.add_arguments(subparser)
        add_run_options(subparser, seconds=command.seconds, requests=command.requests)
    run.add_parser(commands)
    rows = commands.add_parser("rows", help="list the catalogue, one row a line")
    rows.add_argument("--json", action="store_true", help="as JSON, with all texts")
    explained = commands.add_parser("explain", help="why a row matters, how it is judged, how to fix it")
    explained.add_argument("row", metavar="ROW")
    initialize.add_parser(commands)
    return parser
