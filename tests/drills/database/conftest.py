"""What every drill may ask for."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from .orders_fixture import Shop, shop


@pytest.fixture(scope="session")
def ada(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """Somebody who orders."""
    directory: Path = tmp_path_factory.mktemp("accounts")
    with shop(directory) as one:
        yield one
