"""A broker of each kind, and captured log lines."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from structlog.testing import LogCapture


@pytest.fixture(params=["redis", "sqlite"])
def broker_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of an empty broker."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'broker' / 'events.db'}"
    url: str = request.getfixturevalue("redis_url")
    return url


@pytest.fixture
def logged() -> Iterator[list[Any]]:
    """Return the captured structlog entries."""
    capture = LogCapture()
    before = structlog.get_config()
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, capture], cache_logger_on_first_use=False
    )
    yield capture.entries
    structlog.configure(**before)
