"""Plugin of pytest for `just test`: list the slowest files at the end, so that a slow one is noticed."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Final

import pytest

_SHOWN: Final = 15


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Write the files whose tests took longest, of all processes."""
    found = [
        report
        for reports in terminalreporter.stats.values()
        for report in reports
        if isinstance(report, pytest.TestReport)
    ]
    slowest = durations(found)
    if len(slowest) < 2:
        return
    terminalreporter.section("slowest files")
    for seconds, number, file in slowest[:_SHOWN]:
        terminalreporter.write_line(f"{seconds:7.1f} s  {number:4} tests  {file}")
    total = sum(seconds for seconds, _, _ in slowest)
    terminalreporter.write_line(f"{total:7.1f} s  in all {len(slowest)} files, of all processes together")


def durations(reports: Iterable[pytest.TestReport]) -> list[tuple[float, int, str]]:
    """Return seconds, number of tests and name of each file, the slowest first; fixtures are included."""
    seconds: defaultdict[str, float] = defaultdict(float)
    tests: defaultdict[str, set[str]] = defaultdict(set)
    for report in reports:
        file = report.nodeid.partition("::")[0]
        seconds[file] += report.duration
        tests[file].add(report.nodeid)
    return sorted(((seconds[file], len(tests[file]), file) for file in seconds), reverse=True)
