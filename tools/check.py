"""Run every check but the tests, side by side, and list those that failed at the end.

just check                 all of them
just check lint types      some of them
"""

import argparse
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from threading import Lock
from typing import NamedTuple

from .registry import ROOT


class Step(NamedTuple):
    """A check.

    Attributes:
        command: Its command, from the root of the workspace.
        is_shown: Whether its output is of interest if it succeeds, too.
        advice: What to do, for a tool that does not report it.
    """

    command: str
    is_shown: bool = False
    advice: str = ""


def _sources() -> str:
    """Return the folders with code; Git leaves those of another branch's services, with bytecode only."""
    groups = ("packages", "services", "templates")
    found = [folder for group in groups for folder in sorted(ROOT.glob(f"{group}/*/src"))]
    return " ".join(str(folder.relative_to(ROOT)) for folder in found if any(folder.rglob("*.py")))


_CONTRACTS = """\
contracts are in [tool.importlinter] of pyproject.toml; those of a service are written by `just fleet` from
[tool.starkeel.layers] of services/NAME/pyproject.toml: a new module needs a place there\
"""
_WORDS = """\
rules and exceptions are in tools/checks/words.py, and the reasons in CONTRIBUTING.md; for a workspace with
other rules, change them there, or remove `words` in tools/check.py\
"""
STEPS: dict[str, Step] = {
    "types": Step(f"mypy --strict {_sources()} tools"),
    "generated": Step("python -m tools.generate --check"),
    "lock": Step("uv lock --check"),
    "format": Step("ruff format --check ."),
    "lint": Step("ruff check ."),
    "layers": Step("lint-imports --no-logo", advice=_CONTRACTS),
    "dead-code": Step("vulture"),
    "module-length": Step("python -m tools.checks.module_length"),
    "words": Step("python -m tools.checks.words", advice=_WORDS),
    "declarations": Step("python -m tools.checks.declarations"),
    "template": Step("python -m tools.update_services --check", is_shown=True),
    "api-compatibility": Step("python -m tools.checks.api_compatibility"),
    "public-api": Step("python -m tools.checks.public_api"),
    "fragments": Step("python -m tools.release.fragments"),
    "tour": Step("python -m tools.tour --check"),
}
"""By name, the slowest first: none of them writes a file that another one reads."""
_INTERRUPTED = 130


class Result(NamedTuple):
    """The result of a check."""

    name: str
    code: int
    output: str
    seconds: float


def main() -> int:
    """Run the checks; return 1 if one failed."""
    parser = argparse.ArgumentParser(
        prog="just check", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="CHECK", help=f"one of: {', '.join(STEPS)}")
    names = parser.parse_args().names or list(STEPS)
    if unknown := [name for name in names if name not in STEPS]:
        sys.stderr.write(f"there is no check {unknown[0]!r}; checks: {', '.join(STEPS)}\n")
        return os.EX_USAGE
    began = time.monotonic()
    try:
        failed = _run([name for name in STEPS if name in names])
    except KeyboardInterrupt:
        return _INTERRUPTED
    seconds = time.monotonic() - began
    if not failed:
        _write(f"passed: {_count(len(set(names)))} in {seconds:.0f} s")
        return 0
    _write(f"failed: {len(failed)} of {_count(len(set(names)))} in {seconds:.0f} s")
    for name in failed:
        _write(f"  {name:<{_width()}}  uv run --frozen {STEPS[name].command}")
    _write(f"again: uv run just check {' '.join(failed)}")
    return 1


def _run(names: list[str]) -> list[str]:
    """Run checks, as many at the same time as there are processors; return those that failed."""
    processes = _Processes()
    failed = set()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        try:
            # Each output is written as a whole, so that those of two checks are not mixed.
            for done in as_completed([pool.submit(_result, name, processes) for name in names]):
                result = done.result()
                _show(result)
                if result.code:
                    failed.add(result.name)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            processes.end()
            raise
    return [name for name in names if name in failed]


def _show(result: Result) -> None:
    _write(f"{'FAILED' if result.code else 'ok':<6}  {result.name:<{_width()}}  {result.seconds:.1f} s")
    if result.output and (result.code or STEPS[result.name].is_shown):
        _write_indented(result.output)
    if result.code and STEPS[result.name].advice:
        _write_indented(STEPS[result.name].advice)


class _Processes:
    """Processes of checks, which end together."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._running: list[subprocess.Popen[bytes]] = []
        self._are_ended = False

    def start(self, command: str) -> subprocess.Popen[bytes]:
        # Of a shell for the patterns of paths, which ends as its command does.
        with self._lock:
            process = subprocess.Popen(
                f"exec {command}", shell=True, cwd=ROOT, env=_environment(),
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            )  # fmt: skip
            self._running.append(process)
            if self._are_ended:
                process.terminate()
        return process

    def end(self) -> None:
        with self._lock:
            self._are_ended = True
            for process in self._running:
                process.terminate()


def _result(name: str, processes: _Processes) -> Result:
    began = time.monotonic()
    with processes.start(STEPS[name].command) as process:
        output, _ = process.communicate()
    if process.returncode < 0:
        output += f"ended by signal {-process.returncode}\n".encode()
    return Result(
        name, process.returncode, output.decode(errors="replace").rstrip(), time.monotonic() - began
    )


def _environment() -> dict[str, str]:
    """Return the environment with the programs of the one in which this runs."""
    own = str(Path(sys.executable).parent)
    return os.environ | {"PATH": f"{own}{os.pathsep}{os.environ.get('PATH', os.defpath)}"}


def _count(number: int) -> str:
    return "1 check" if number == 1 else f"{number} checks"


def _width() -> int:
    return max(map(len, STEPS))


def _write_indented(text: str) -> None:
    _write("\n".join(f"  {line}" for line in text.splitlines()))


def _write(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
