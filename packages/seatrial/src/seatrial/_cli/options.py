"""Options of commands that judge rows."""

import argparse
from pathlib import Path

from .._report.formats import FORMATS


def add_run_options(parser: argparse.ArgumentParser, *, seconds: float, requests: int) -> None:
    """Add the options that all commands that judge rows share.

    Args:
        parser: Parser of the command.
        seconds: Default of `--time-budget`.
        requests: Default of `--request-budget`.
    """
    rows = parser.add_argument_group(
        "rows", "identifiers, categories, or patterns such as 'edge-*'; repeatable"
    )
    rows.add_argument("--only", metavar="ROW", action="append", default=[], help="judge these alone")
    rows.add_argument("--skip", metavar="ROW", action="append", default=[], help="leave these out")
    rows.add_argument(
        "--require", metavar="ROW", action="append", default=[], help="these must pass: unknown is a failure"
    )
    limits = parser.add_argument_group("limits")
    limits.add_argument(
        "--time-budget", metavar="SECONDS", type=_positive, default=seconds, help="default: %(default)g"
    )
    limits.add_argument(
        "--request-budget", metavar="N", type=_count, default=requests, help="default: %(default)s"
    )
    limits.add_argument("--seed", type=int, default=1, help="of what is random (default: %(default)s)")
    output = parser.add_argument_group("output")
    output.add_argument(
        "--format",
        dest="formats",
        action="append",
        choices=sorted(FORMATS),
        help="repeatable, each followed by its --output (default: terminal)",
    )
    output.add_argument(
        "--output",
        dest="outputs",
        metavar="FILE",
        action="append",
        default=[],
        help="file of the format at the same position; '-' or none: standard output",
    )
    output.add_argument(
        "--baseline",
        metavar="FILE",
        type=Path,
        help="earlier JSON report: list what changed, and fail on regressions only",
    )
    output.add_argument("--no-color", action="store_true", help="no colours on a terminal")
    parser.add_argument("--config", metavar="FILE", type=Path, help="default: seatrial.toml if it exists")


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value <= 86_400:
        raise argparse.ArgumentTypeError(f"{text} is not greater than 0 and at most 86400")
    return value


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    return value
