"""Commands that judge rows: selection, run, outputs and exit code are the same for all."""

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .._config.model import Config
from .._config.read import read_config
from .._errors import UsageError
from .._report import terminal
from .._report.baseline import Change, compare, read_baseline
from .._report.formats import FORMATS
from .._report.report import Report, cleaned
from .._rows.registry import load_rows, select
from .._rows.row import AnyRow, Command
from .._rows.verdict import unknown
from .._run.budget import Budget
from .._run.runner import Result, run_rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """The target of a command, prepared for its rows.

    Attributes:
        target: Its name in reports.
        subject: Passed to the rows of the command.
        found: What was found about it, for reports.
        refused_attacks: Why hostile requests must not be sent to it, or empty.
        secrets: Returns values that no report may contain, after the rows were judged.
        close: Ends what was started for it.
    """

    target: str
    subject: Any
    found: Mapping[str, str] = field(default_factory=dict)
    refused_attacks: str = ""
    secrets: Callable[[], Sequence[str]] = tuple
    close: Callable[[], None] = lambda: None


@dataclass(frozen=True, slots=True)
class TrialCommand:
    """A command that judges rows.

    Attributes:
        name: Name; rows with this `command` are judged.
        help: One line.
        add_arguments: Adds its own arguments.
        prepare: Returns what is judged; raises `UsageError` if it cannot be read or reached.
        seconds: Default of `--time-budget`.
        requests: Default of `--request-budget`.
    """

    name: Command
    help: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    prepare: Callable[[argparse.Namespace, Config, Budget], Trial]
    seconds: float = 120.0
    requests: int = 600


@dataclass(frozen=True, slots=True)
class Step:
    """A command with its arguments, as a part of a run."""

    command: TrialCommand
    arguments: argparse.Namespace


@dataclass(frozen=True, slots=True)
class Plan:
    """Commands of a run.

    Attributes:
        steps: In their order.
        not_run: Why a command is left out, by its name.
    """

    steps: Sequence[Step]
    not_run: Mapping[Command, str] = field(default_factory=dict)


def run_command(command: TrialCommand, arguments: argparse.Namespace) -> int:
    """Run a command and return the exit code.

    Raises:
        UsageError: It could not run.
    """
    return run_plan(command.name, arguments, lambda _: Plan([Step(command, arguments)]))


def run_plan(name: str, arguments: argparse.Namespace, plan_of: Callable[[Config], Plan]) -> int:
    """Run the steps of a plan, write one report, and return the exit code.

    Args:
        name: Name of the command in the report.
        arguments: Options of the run.
        plan_of: Returns the plan that follows from the configuration.

    Raises:
        UsageError: It could not run.
    """
    outputs = _outputs(arguments)
    baseline = read_baseline(arguments.baseline) if arguments.baseline else None
    config = read_config(arguments.config)
    selection = _selected(arguments, config)
    plan = plan_of(config)
    steps = [step for step in plan.steps if selection.of(step.command.name)]
    if not steps:
        absent = "".join(
            f"; {command}: {why}" for command, why in plan.not_run.items() if selection.of(command)
        )
        raise UsageError(f"no row of `seatrial {name}` is selected; check --only and --skip{absent}")
    budget = Budget(arguments.time_budget, arguments.request_budget)
    started_at = datetime.now(UTC).isoformat(timespec="seconds")
    with ExitStack() as stack:
        trials = []
        # All before the first row: a target that cannot be read is reported at once.
        for step in steps:
            trials.append(step.command.prepare(step.arguments, config, budget))
            stack.callback(trials[-1].close)
        judged = _judged(steps, trials, selection, budget)
    shown = (*judged, *_left_out(plan.not_run, selection))
    changes: tuple[Change, ...] | None = None
    if baseline is not None:
        shown, changes = compare(shown, baseline)
    report = Report(
        target=", ".join(trial.target for trial in trials),
        command=name,
        results=shown,
        changes=changes,
        started_at=started_at,
        seconds=budget.elapsed_s,
        requests=budget.used_requests,
        seed=arguments.seed,
        found={key: text for trial in trials for key, text in trial.found.items()},
        not_run={str(command): reason for command, reason in plan.not_run.items()},
    )
    _write(report, outputs, has_colour=sys.stdout.isatty() and not arguments.no_color)
    return report.exit_code


@dataclass(frozen=True, slots=True)
class _Selection:
    rows: Sequence[AnyRow]
    required: frozenset[str]

    def of(self, name: Command) -> list[AnyRow]:
        return [row for row in self.rows if row.command == name]


def _judged(
    steps: Sequence[Step], trials: Sequence[Trial], selection: _Selection, budget: Budget
) -> tuple[Result, ...]:
    progress = _Progress(sum(len(selection.of(step.command.name)) for step in steps))
    results: list[Result] = []
    try:
        for step, trial in zip(steps, trials, strict=True):
            name = step.command.name
            results += run_rows(
                selection.of(name),
                {name: trial.subject},
                budget,
                required=selection.required,
                refused_attacks=trial.refused_attacks,
                progress=progress.show,
            )
    finally:
        progress.clear()
    return cleaned(results, [secret for trial in trials for secret in trial.secrets()])


def _left_out(not_run: Mapping[Command, str], selection: _Selection) -> Iterator[Result]:
    """Yield the required rows of commands that are left out: what was not judged is no pass."""
    for name, reason in not_run.items():
        for row in selection.of(name):
            if row.id in selection.required:
                yield Result(row, unknown(f"`seatrial {name}` did not run: {reason}."), is_required=True)


def _selected(arguments: argparse.Namespace, config: Config) -> _Selection:
    every = load_rows()
    identifiers = frozenset(row.id for row in every)
    only = select(every, arguments.only or config.only, origin="--only") or identifiers
    skip = select(every, [*arguments.skip, *config.skip], origin="--skip")
    required = select(every, [*arguments.require, *config.require], origin="--require")
    return _Selection([row for row in every if row.id in only and row.id not in skip], required)


def _outputs(arguments: argparse.Namespace) -> list[tuple[str, str]]:
    formats = arguments.formats or ["terminal"]
    if len(arguments.outputs) > len(formats):
        raise UsageError("--output: more files than formats; each --output needs its --format")
    files = [*arguments.outputs, *["-"] * (len(formats) - len(arguments.outputs))]
    return list(zip(formats, files, strict=True))


def _write(report: Report, outputs: Sequence[tuple[str, str]], *, has_colour: bool) -> None:
    for name, file in outputs:
        if file == "-":
            text = (
                terminal.render(report, has_colour=has_colour)
                if name == "terminal"
                else FORMATS[name](report)
            )
            sys.stdout.write(text)
            sys.stdout.flush()
            continue
        try:
            Path(file).write_text(FORMATS[name](report), "utf-8")
        except OSError as error:
            raise UsageError(f"--output {file}: {error.strerror or error}") from error


class _Progress:
    """The row that is being judged, on a terminal."""

    def __init__(self, total: int) -> None:
        self._is_live = sys.stderr.isatty()
        self._total = total
        self._position = 0

    def show(self, _position: int, _total: int, row: AnyRow) -> None:
        self._position += 1
        if self._is_live:
            sys.stderr.write(f"\r\x1b[K[{self._position}/{self._total}] {row.id}")
            sys.stderr.flush()

    def clear(self) -> None:
        if self._is_live:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
