"""A user whose requests reach the database."""

from collections.abc import Iterator

import pytest

from ...support.orders import Customer, registered_customer


@pytest.fixture(scope="session")
def customer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Customer]:
    with registered_customer(tmp_path_factory.mktemp("accounts")) as registered:
        yield registered
