"""The command `run`: every command that `seatrial.toml` configures, with one report."""

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .._config.model import Config
from .._errors import UsageError
from .._rows.row import Command
from .check import CHECK, add_ownership
from .command import Plan, Step, TrialCommand, run_plan
from .drill import DRILL
from .image import IMAGE
from .manifests import MANIFESTS
from .options import add_run_options

_HELP = "run every command that seatrial.toml configures, with one report"


@dataclass(frozen=True, slots=True)
class _Entry:
    """A command and the key that configures it.

    Attributes:
        command: The command.
        key: The key without which it does not run.
        arguments: Returns its own arguments; empty if the key is not set.
    """

    command: TrialCommand
    key: str
    arguments: Callable[[Config], Mapping[str, Any]]


_ENTRIES = (
    _Entry(CHECK, "url", lambda config: {"url": config.url, "admin": None} if config.url else {}),
    _Entry(
        DRILL,
        "drill.command",
        lambda config: {"program": list(config.drill.command)} if config.drill.command else {},
    ),
    _Entry(IMAGE, "image.reference", lambda config: _given("image", config.image.reference)),
    _Entry(MANIFESTS, "manifests.path", lambda config: _given("path", config.manifests.path)),
)


def _given(name: str, value: str) -> Mapping[str, Any]:
    return {name: value} if value else {}


def add_parser(commands: Any) -> None:
    """Add the parser of the command to the subparsers."""
    parser = commands.add_parser("run", help=_HELP, description=_HELP)
    add_ownership(parser)
    commands_of_run = [entry.command for entry in _ENTRIES]
    add_run_options(
        parser,
        seconds=sum(command.seconds for command in commands_of_run),
        requests=sum(command.requests for command in commands_of_run),
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return the exit code.

    Raises:
        UsageError: Nothing is configured, or a command could not run.
    """
    return run_plan("run", arguments, lambda config: _plan(arguments, config))


def _plan(arguments: argparse.Namespace, config: Config) -> Plan:
    steps: list[Step] = []
    not_run: dict[Command, str] = {}
    for entry in _ENTRIES:
        if own := entry.arguments(config):
            steps.append(Step(entry.command, argparse.Namespace(**{**vars(arguments), **own})))
        else:
            not_run[entry.command.name] = f"{entry.key} is not set"
    if not steps:
        keys = ", ".join(entry.key for entry in _ENTRIES)
        raise UsageError(
            f"nothing to run: set one of {keys} in seatrial.toml; `seatrial init URL` writes the file"
        )
    return Plan(steps, not_run)
