"""The pytest plugin: what happens once in a run. The fixtures stand in `_fixtures`."""

import os
from collections.abc import Generator
from typing import Any, Protocol

import pytest

from ._requirements import REQUIREMENTS, Deselected, deselect_unmet
from ._servers.shared_postgres import BROKER, PostgresBroker

pytest_plugins = ["starkeel_testing.fixtures"]

_DESELECTED = pytest.StashKey[Deselected]()


class Node(Protocol):
    """A process of pytest-xdist, as the one that controls it sees it."""

    config: pytest.Config
    workerinput: dict[str, Any]


def pytest_configure(config: pytest.Config) -> None:
    """Begin a run."""
    for name in REQUIREMENTS:
        config.addinivalue_line(
            "markers", f"needs_{name}: needs a {name} server; left out where none can be had"
        )
    config.stash[BROKER] = PostgresBroker()
    config.stash[_DESELECTED] = Deselected()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Node) -> None:
    """Tell a process of pytest-xdist where it gets what all share."""
    node.workerinput["starkeel_postgres"] = node.config.stash[BROKER].listen()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what cannot run here."""
    config.stash[_DESELECTED] = deselect_unmet(config, items)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Node, error: object | None) -> None:
    """Hear from a process of pytest-xdist what it left out: the same as every other."""
    del error
    told = getattr(node, "workeroutput", {}).get("starkeel_left_out")
    if told is not None:
        node.config.stash[_DESELECTED] = Deselected(told["count"], set(told["needs"]))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> Generator[None]:
    """Say on the last line what was left out; under CI that is a failure."""
    left_out = session.config.stash[_DESELECTED]
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["starkeel_left_out"] = {"count": left_out.count, "needs": sorted(left_out.needs)}
    is_failure = left_out.count > 0 and os.environ.get("CI", "").lower() in {"1", "true"}
    if is_failure and session.exitstatus in {pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED}:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    yield
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if left_out.count and reporter is not None and output is None:
        reporter.write_line(left_out.line(), red=bool(is_failure), yellow=not is_failure)


def pytest_unconfigure(config: pytest.Config) -> None:
    """End what the run shared."""
    config.stash[BROKER].close()
