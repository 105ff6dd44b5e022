"""The OpenAPI documents are committed, so they must be the same in every run."""

import pytest
from starkeel_testing import exits

from tools.workspace import service_names


@pytest.mark.parametrize("service", service_names())
def test_a_document_does_not_depend_on_the_hash_seed(service: str) -> None:
    documents = {exits(service, {"PYTHONHASHSEED": seed}, "openapi").output for seed in "1234"}

    assert len(documents) == 1
