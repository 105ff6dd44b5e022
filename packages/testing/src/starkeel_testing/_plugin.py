"""The pytest plugin: what happens once in a run. The fixtures stand in `_fixtures`."""

import os
from collections.abc import Generator
from typing import Any, Protocol

import pytest

from ._fixtures import (
    database_url,
    database_urls,
    free_port,
    otlp,
    own_postgres,
    postgres_server,
    postgres_url,
    redis_server,
    redis_url,
    session_database,
)
from ._missing import NEEDS, LeftOut, leave_out
from ._run import RUN, Run
from ._shared import Door

__all__ = [
    "database_url",
    "database_urls",
    "free_port",
    "otlp",
    "own_postgres",
    "postgres_server",
    "postgres_url",
    "redis_server",
    "redis_url",
    "session_database",
]


class Node(Protocol):
    """A process of pytest-xdist, as the one that controls it sees it."""

    config: pytest.Config
    workerinput: dict[str, Any]


def pytest_configure(config: pytest.Config) -> None:
    """Begin a run."""
    for name in NEEDS:
        config.addinivalue_line(
            "markers", f"needs_{name}: needs a {name} server; left out where none can be had"
        )
    config.stash[RUN] = Run()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Node) -> None:
    """Tell a process of pytest-xdist where it gets what all share."""
    run = node.config.stash[RUN]
    if run.door is None:
        run.door = Door(run.postgres)
    node.workerinput["starkeel_door"] = run.door.address


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what cannot run here."""
    config.stash[RUN].left_out = leave_out(config, items)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Node, error: object | None) -> None:
    """Hear from a process of pytest-xdist what it left out: the same as every other."""
    del error
    told = getattr(node, "workeroutput", {}).get("starkeel_left_out")
    if told is not None:
        node.config.stash[RUN].left_out = LeftOut(told["count"], set(told["needs"]))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> Generator[None]:
    """Say on the last line what was left out; under CI that is a failure."""
    left_out = session.config.stash[RUN].left_out
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
    config.stash[RUN].close()
