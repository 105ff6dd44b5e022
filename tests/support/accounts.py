"""Users of accounts."""

from uuid import uuid4

import httpx2

NEEDED_SERVICES = ("accounts",)


def sign_in(accounts: httpx2.Client) -> dict[str, str]:
    """Register a new user and return headers with her access token."""
    user = {"email": f"{uuid4().hex}@example.com", "password": "seven quiet lighthouses"}
    registered = accounts.post("/api/users", json=user)
    assert registered.status_code == 201, registered.text
    response = accounts.post("/api/auth/token", json=user)
    assert response.status_code == 200, response.text
    return {"Authorization": f"Bearer {response.json()['access_token']}"}
