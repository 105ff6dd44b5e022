"""Judge the services of the registry, their manifests and their images by the checklist of seatrial.

Exit code 1: a row fails or could not be judged, or a verdict differs from docs/checklist.json.
"""

import argparse
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from ..registry import ROOT
from .fleet import MODES, running_fleet
from .peers import PEERS, running_peer
from .results import Results, differences, read_results, results_of, write_results
from .static_subjects import deployment, images
from .subject import Subject, Trial, TrialError, run

RESULTS = ROOT / "docs/checklist.json"
COMPARISON = ROOT / "docs/comparison.json"
DOCUMENTED = ROOT / "docs/checklist"


def main() -> int:
    """Run the trial; return the exit code."""
    given = _options()
    began = time.monotonic()
    try:
        if given.peers:
            return _compare(given)
        trials = list(_trials(given.image, given.output, is_drilled=given.drill))
    except (TrialError, ValueError, FileNotFoundError) as error:
        sys.stderr.write(f"{error}\n")
        return os.EX_USAGE
    results = results_of(trials)
    write_results(given.output / "checklist.json", results)
    problems = list(_problems(trials))
    # Images are judged where there are some, and are no part of the committed results.
    committed = [trial for trial in trials if not trial.name.startswith("image ")]
    changed = (
        []
        if given.write
        else _changes(results_of(committed), [trial.name for trial in committed], is_drilled=given.drill)
    )
    if given.write:
        _document(committed)
    for line in [*problems, *changed]:
        sys.stdout.write(f"{line}\n")
    sys.stdout.write(f"reports: {given.output}; {time.monotonic() - began:.0f} s\n")
    return 1 if problems or changed else 0


def _compare(given: argparse.Namespace) -> int:
    """Judge the other stacks, whose failures are a result and no problem."""
    trials, versions = [], {}
    for peer in PEERS:
        with TemporaryDirectory(prefix="peer-") as folder, running_peer(peer, Path(folder)) as subject:
            trials.append(_judged(subject, given.output))
        versions[peer.title] = peer.versions()
    results = msgspec.structs.replace(results_of(trials), versions=versions)
    if given.write:
        write_results(COMPARISON, results)
        sys.stdout.write(f"wrote {COMPARISON.relative_to(ROOT)}; next: uv run just checklist\n")
    else:
        for line in _problems(trials):
            sys.stdout.write(f"{line}\n")
    return 0


def _document(trials: Sequence[Trial]) -> None:
    """Write the verdicts, and one report as a page and as a terminal shows it."""
    write_results(RESULTS, results_of(trials))
    shown = next(trial for trial in reversed(trials) if trial.name.endswith("production"))
    DOCUMENTED.mkdir(exist_ok=True)
    (DOCUMENTED / "report.html").write_bytes((shown.folder / "report.html").read_bytes())
    (DOCUMENTED / "session.txt").write_text(f"$ seatrial run\n{shown.text}", "utf-8")
    sys.stdout.write(f"wrote {RESULTS.relative_to(ROOT)}; next: uv run just checklist\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="just trial", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--image",
        action="append",
        default=[],
        metavar="NAME=ARCHIVE",
        help="also judge an image: an archive of `docker save`, or its name in the Docker daemon; repeatable",
    )
    parser.add_argument(
        "--drill",
        action="store_true",
        help="also start, stop and disturb each service, with a PostgreSQL of its own",
    )
    parser.add_argument(
        "--peers",
        action="store_true",
        help="judge services on other stacks instead, installed on the first run (docs/comparison.md)",
    )
    parser.add_argument(
        "--output", type=Path, default=ROOT / ".data/trial", help="folder of the reports (.data/trial)"
    )
    parser.add_argument("--write", action="store_true", help="write the results in docs/")
    return parser.parse_args()


def _trials(archives: Sequence[str], output: Path, *, is_drilled: bool) -> Iterator[Trial]:
    output.mkdir(parents=True, exist_ok=True)
    static = [deployment(output), *images(archives)]
    for mode in MODES:
        with running_fleet(mode, is_drilled=is_drilled) as subjects:
            yield from (_judged(subject, output) for subject in subjects)
    for subject in static:
        yield _judged(subject, output)


def _judged(subject: Subject, output: Path) -> Trial:
    trial = run(subject, output)
    counts = ", ".join(f"{count} {verdict}" for verdict, count in trial.report["counts"].items())
    sys.stdout.write(f"{subject.name}: {counts}; {trial.report['seconds']:.1f} s\n")
    sys.stdout.flush()
    return trial


def _problems(trials: Sequence[Trial]) -> Iterator[str]:
    for trial in trials:
        for row in trial.report["rows"]:
            if row["verdict"] in {"fail", "unknown"}:
                yield f"{row['verdict']}: {row['id']}, {trial.name}: {row['reason']}"


def _changes(results: Results, subjects: Sequence[str], *, is_drilled: bool) -> list[str]:
    if not RESULTS.exists():
        return [f"{RESULTS.name} does not exist: run `uv run just trial --write`"]
    before = read_results(RESULTS)
    if not is_drilled:
        before = before.without("drill")
    found = list(differences(before, results, subjects))
    advice = "docs/checklist.json differs; if this is intended: uv run just trial --write"
    return [*found, advice] if found else []


if __name__ == "__main__":
    sys.exit(main())
