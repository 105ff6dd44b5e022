"""The command `drill`."""

import argparse
import signal
import sys
from types import FrameType

from .._config.model import Config
from .._drill.drill import Drill
from .._errors import UsageError
from .._rows.verdict import Undecided
from .._run.budget import Budget, BudgetExhausted
from .command import Trial, TrialCommand

_SECONDS = 900.0
_REQUESTS = 1_000_000


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "program",
        metavar="COMMAND",
        nargs="+",
        help="starts the service, after `--`; `{port}` is replaced by a free port, which is in the "
        "environment as well",
    )


def _prepare(arguments: argparse.Namespace, config: Config, budget: Budget) -> Trial:
    # A stop of this process must stop the service as well.
    signal.signal(signal.SIGTERM, _interrupt)
    drill = Drill(arguments.program, config, budget)
    try:
        found = drill.search()
    except BudgetExhausted as error:
        _close(drill)
        raise UsageError(f"COMMAND: not ready: {error}") from error
    except BaseException:
        _close(drill)
        raise
    return Trial(
        target=" ".join(arguments.program),
        subject=drill,
        found=found,
        secrets=lambda: drill.token_secrets,
        close=lambda: _close(drill),
    )


def _close(drill: Drill) -> None:
    try:
        drill.close()
    except Undecided as problem:
        # The report is complete; what must not be missed is that the database is still stopped.
        sys.stderr.write(f"seatrial: the database is still stopped: {problem}\n")


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


DRILL = TrialCommand(
    "drill",
    "start a service, apply load, send signals, and judge what it does (loopback only)",
    _add_arguments,
    _prepare,
    seconds=_SECONDS,
    requests=_REQUESTS,
)
