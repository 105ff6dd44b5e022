"""The OpenAPI documents, which are kept in docs/ and must not differ from one run to the next."""

import pytest
from starkeel_testing import exits


@pytest.mark.parametrize("service", ["accounts", "orders"])
def test_a_document_is_the_same_whatever_the_order_of_sets(service: str) -> None:
    documents = {exits(service, {"PYTHONHASHSEED": seed}, "openapi").output for seed in "1234"}

    assert len(documents) == 1
