"""Fixtures of the tests across packages."""

from pathlib import Path

import pytest

from tests.support.wheels import wheels_of_run


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory of the wheels of all packages and services, built once per run."""
    return wheels_of_run(tmp_path_factory)
