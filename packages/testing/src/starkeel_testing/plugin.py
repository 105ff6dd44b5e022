"""The pytest plugin: one PostgreSQL per run, and deselection of tests that cannot run here."""

import os
from collections.abc import Generator
from typing import Any, Protocol

import pytest

from ._leaks import CHECKED
from ._requirements import SERVERS, Deselected, deselect_unmet
from ._servers.shared_postgres import BROKER, PostgresBroker

pytest_plugins = ["starkeel_testing.fixtures"]

_DESELECTED = pytest.StashKey[Deselected]()


class Node(Protocol):
    """A pytest-xdist worker, from the controller's side."""

    config: pytest.Config
    workerinput: dict[str, Any]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the option of the search for leaks."""
    parser.addini("starkeel_leak_check", "services whose output must hold no secret", type="args", default=[])


def pytest_configure(config: pytest.Config) -> None:
    """Declare the markers and initialise the state of the run."""
    for name in SERVERS:
        config.addinivalue_line("markers", f"needs_{name}: deselected where no {name} server is available")
    CHECKED.update(config.getini("starkeel_leak_check"))
    config.stash[BROKER] = PostgresBroker()
    config.stash[_DESELECTED] = Deselected()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Node) -> None:
    """Pass the broker's address to a worker."""
    node.workerinput["starkeel_postgres"] = node.config.stash[BROKER].listen()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the tests that cannot run here."""
    config.stash[_DESELECTED] = deselect_unmet(config, items)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Node, error: object | None) -> None:
    """Take over what a worker deselected, which is the same in every worker."""
    del error
    received = getattr(node, "workeroutput", {}).get("starkeel_deselected")
    if received is not None:
        node.config.stash[_DESELECTED] = Deselected(*received)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> Generator[None]:
    """Report deselected tests on the last line; in CI they make the run fail."""
    deselected = session.config.stash[_DESELECTED]
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["starkeel_deselected"] = tuple(deselected)
    is_failure = deselected.tests > 0 and os.environ.get("CI", "").lower() in {"1", "true"}
    if is_failure and session.exitstatus in {pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED}:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    yield
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if deselected.tests and reporter is not None and output is None:
        reporter.write_line(deselected.line(), red=is_failure, yellow=not is_failure)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop the shared PostgreSQL."""
    config.stash[BROKER].close()
