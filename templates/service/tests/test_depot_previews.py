"""Previews of crates."""

from typing import Any

import pytest
from starkeel_testing import Service

PATH = "/api/depot/crates/preview"


def test_a_preview_is_what_would_be_stored(service: Service, ada: Any, make: Any, body: Any) -> None:
    creation = make.creation.build(quantity=0)
    before = service.metric("depot_crate_previews_total")

    response = service.client.post(PATH, json=body(creation), headers=ada.headers)

    assert response.status_code == 200, response.text
    assert response.json() == {"name": creation.name, "quantity": 0, "is_empty": True}
    assert service.metric("depot_crate_previews_total") == before + 1
    assert service.wait_for_log("crate previewed", user_id=ada.id)["level"] == "INFO"


@pytest.mark.parametrize(
    ("change", "field"),
    [({"name": "Oak plank"}, "name"), ({"quantity": -1}, "quantity"), ({"color": "red"}, "color")],
)
def test_invalid_input_is_an_error_of_its_field(
    service: Service, ada: Any, change: dict[str, Any], field: str
) -> None:
    response = service.client.post(PATH, json={"name": "a", "quantity": 1} | change, headers=ada.headers)

    assert response.status_code == 400
    assert response.headers["content-type"].startswith("application/problem+json")
    assert field in str(response.json()["errors"])
