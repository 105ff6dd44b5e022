"""An application with jobs on a real database."""

from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from structlog.testing import LogCapture

from .jobs_shop import Open, shop


@pytest.fixture
def open_shop() -> Open:
    return shop


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
