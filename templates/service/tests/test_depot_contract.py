"""The OpenAPI document and the service accept the same requests."""

from typing import Any

import msgspec
import pytest
from depot.schemas import CrateChange, CrateCreation
from hypothesis import HealthCheck, Phase, given, settings
from starkeel_testing import Service

from tests.support.contract import Contract, constraints, decoder_constraints, is_valid, sent

FEW = settings(
    max_examples=25,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
ALWAYS = {"400", "401", "403", "429", "503"}
OF_CREATION = ALWAYS | {
    "413",
    "415",
    # template if calls accounts
    "502",
    "504",
    # template end
}
PROBLEMS = {
    # template if database
    ("post", "/api/depot/crates"): OF_CREATION | {"409", "422"},
    ("get", "/api/depot/crates"): ALWAYS,
    ("get", "/api/depot/crates/{crate_id}"): ALWAYS | {"404", "412"},
    ("patch", "/api/depot/crates/{crate_id}"): ALWAYS | {"404", "412", "413", "415", "428"},
    ("delete", "/api/depot/crates/{crate_id}"): ALWAYS | {"404", "412", "428"},
    ("get", "/api/depot/events"): ALWAYS,
    # template end
    # template if not database
    ("post", "/api/depot/crates/preview"): OF_CREATION,
    # template end
}
BODIES = [operation for operation in PROBLEMS if operation[0] in {"patch", "post"}]
KINDS = [
    CrateCreation,
    # template if database
    CrateChange,
    # template end
]


@pytest.fixture(scope="module")
def contract(service: Service) -> Contract:
    return Contract(service.client.get("/schema/openapi.json").json(), {})


def test_every_problem_response_is_documented(contract: Contract) -> None:
    found = {
        (method, path): {status for status in operation["responses"] if status >= "400"}
        for path, item in contract.document["paths"].items()
        for method, operation in item.items()
        if path.startswith("/api/")
    }

    assert found == PROBLEMS


def test_required_scopes_are_documented(contract: Contract) -> None:
    [name] = contract.document["components"]["securitySchemes"]

    for method, path in PROBLEMS:
        scope = "depot:read" if method == "get" or path.endswith("/preview") else "depot:write"
        assert contract.document["paths"][path][method]["security"] == [{name: [scope]}]


@pytest.mark.parametrize("kind", KINDS)
def test_the_document_has_the_bounds_of_the_decoder(contract: Contract, kind: type[msgspec.Struct]) -> None:
    documented = constraints(contract.document["components"]["schemas"][kind.__name__])

    assert documented == decoder_constraints(kind)


@pytest.mark.parametrize(("method", "path"), BODIES)
def test_a_body_is_accepted_as_the_document_states(
    service: Service, contract: Contract, ada: Any, method: str, path: str
) -> None:
    schema = contract.body_schema(method, path)
    url = path
    # template if database
    creation = {"name": "oak-plank", "quantity": 1}
    created = service.client.post("/api/depot/crates", json=creation, headers=ada.creating)
    url = path.replace("{crate_id}", created.json()["id"])
    # template end

    @FEW
    @given(contract.bodies(schema))
    def check(body: Any) -> None:
        headers = {**ada.creating, "Content-Type": "application/json", "If-Match": "*"}
        response = service.client.request(method.upper(), url, content=sent(body), headers=headers)
        assert (response.status_code != 400) is is_valid(schema, body, {}), (body, response.text)
        assert response.status_code < 500

    check()
