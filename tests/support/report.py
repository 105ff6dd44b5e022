"""Figures of a drill, printed even if the test passes."""

import pytest

_NAME = "figures"


def report(capsys: pytest.CaptureFixture[str], drill: str, *results: object, **figures: object) -> None:
    """Have a line with results and named figures printed when the test ends."""
    named = [f"{name.replace('_', ' ')} {value}" for name, value in figures.items()]
    line = f"{drill}: {', '.join([*map(str, results), *named])}"
    # Not written to stdout here: that of a process of pytest-xdist is not shown.
    capsys.request.node.user_properties.append((_NAME, line))


class ReportedFigures:
    """Plugin that prints the lines of each test, whichever process ran it."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Print the lines of a test that has ended."""
        lines = [value for name, value in report.user_properties if name == _NAME]
        terminal = self._config.pluginmanager.get_plugin("terminalreporter")
        if report.when == "call" and terminal is not None:
            for line in lines:
                terminal.write_line(f"\n{line}")
