"""Fixtures that run the sample service as a process."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from starkeel_testing import Service, running

Run = Callable[..., AbstractContextManager[Service]]


@pytest.fixture(scope="session")
def run_sample() -> Run:
    """Return a function that runs the sample with environment variables."""

    def run(**env: str) -> AbstractContextManager[Service]:
        return running("http_sample", {"PYTHONPATH": str(Path(__file__).parent), **env})

    return run


@pytest.fixture(scope="module")
def sample(run_sample: Run) -> Iterator[Service]:
    """Run one sample for all tests of a module."""
    with run_sample(
        REQUEST_TIMEOUT_SECONDS="1",
        MAX_BODY_BYTES="1000000",
        CORS_ALLOWED_ORIGINS="https://shop.example.com,http://localhost:5173",
        TRUSTED_PROXIES="127.0.0.1,10.0.0.0/8",
        RATE_LIMIT_SAMPLE="3/hour",
    ) as service:
        yield service
