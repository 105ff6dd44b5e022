"""Sign in and call an operation on the page of a service's API, in a real browser."""

import json
from pathlib import Path

from starkeel_testing import running

from ...support.browser import browser_page

SIGN_IN, PROFILE = "#operations-tokens-ApiAuthTokenToken", "#operations-users-ApiUsersMeMe"
USER = {"email": "ada@example.com", "password": "seven quiet lighthouses"}


def test_signing_in_on_the_page_authorizes_the_other_operations(tmp_path: Path) -> None:
    with running("accounts", {"ENVIRONMENT": "development"}) as service, browser_page(tmp_path) as page:
        assert service.client.post("/api/users", json=USER).status_code == 201
        page.open(f"{service.url}/schema")

        page.click(f"{SIGN_IN} .opblock-summary-control")
        page.click(f"{SIGN_IN} .try-out__btn")
        page.replace(f"{SIGN_IN} .body-param__text", json.dumps(USER))
        page.click(f"{SIGN_IN} .execute")
        page.wait_for(f"document.querySelector('{SIGN_IN} .live-responses-table')?.innerText")
        page.click(f"{PROFILE} .opblock-summary-control")
        page.click(f"{PROFILE} .try-out__btn")
        page.click(f"{PROFILE} .execute")
        response = page.wait_for(f"document.querySelector('{PROFILE} .live-responses-table')?.innerText")

        assert "200" in response.split()
        assert "ada@example.com" in response
        assert not page.errors
