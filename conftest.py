"""Rules of every test: the services it needs, its figures, and the logging of the test runner."""

import logging
import signal
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.support.needed_services import WithoutService, left_out, needed
from tests.support.report import ReportedFigures
from tools.registry import ROOT, read


@cache
def _services() -> frozenset[str]:
    return frozenset(service.name for service in read())


def pytest_configure(config: pytest.Config) -> None:
    """Print the figures that tests report, and let processes that are started receive Ctrl-C."""
    config.pluginmanager.register(ReportedFigures(config))
    # Ignored by what a shell starts in the background, and inherited.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.Module | None:
    """Leave out a module that needs a service which the registry does not have."""
    if needed(module_path, ROOT) <= _services():
        return None
    return WithoutService.from_parent(parent, path=module_path)


def pytest_report_header() -> list[str]:
    """List the modules that are left out."""
    return [
        f"no service {name!r}, left out: {', '.join(str(path.relative_to(ROOT)) for path in found)}"
        for name, found in sorted(left_out(ROOT, _services()).items())
    ]


@pytest.fixture(autouse=True)
def _process_is_set_up(monkeypatch: pytest.MonkeyPatch) -> None:
    # Applications that tests start in the test runner leave its logging and its tracer provider unchanged;
    # otherwise loggers that are used meanwhile would send their lines to stdout for the rest of the run.
    monkeypatch.setattr("starkeel_observability._plugin.is_set_up", lambda: True)


@pytest.fixture(autouse=True)
def _root_logger_is_restored() -> Iterator[None]:
    # An application of a test may configure the root logger with a handler whose stream pytest closes.
    root = logging.getLogger()
    before = set(root.handlers)
    yield
    for handler in set(root.handlers) - before:
        root.removeHandler(handler)
