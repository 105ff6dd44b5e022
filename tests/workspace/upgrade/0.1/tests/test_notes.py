"""Notes as a real process."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from starkeel_auth import SigningKeys, generate_private_key_pem
from starkeel_testing import Service, running

SOURCE = Path(__file__).parents[1] / "src"
KEY = generate_private_key_pem()
TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.fixture
def notes(tmp_path: Path) -> Iterator[Service]:
    settings = {
        "DATABASE_URL": f"sqlite:///{tmp_path}/notes.db",
        "JWT_PRIVATE_KEY": KEY,
        "JWT_ISSUER": "https://notes.example",
        "JWT_AUDIENCE": "notes",
        "PYTHONPATH": str(SOURCE),
    }
    with running("notes", settings) as service:
        yield service


def headers(**others: str) -> dict[str, str]:
    """Return headers with a token, signed by the service's key."""
    now = int(time.time())
    claims = {
        "iss": "https://notes.example",
        "aud": "notes",
        "sub": "ada",
        "client_id": "notes",
        "jti": str(now),
        "scope": "notes:write",
    }
    token = SigningKeys.from_pem(KEY).sign(claims | {"iat": now, "exp": now + 60})
    return {"Authorization": f"Bearer {token}"} | others


def test_a_note_is_added_once_and_its_event_reaches_subscribers_and_the_broker(notes: Service) -> None:
    sent = headers(**{"Idempotency-Key": "first-note", "traceparent": f"00-{TRACE}-b7ad6b7169203331-01"})
    first, again = (notes.client.post("/api/notes/hello", headers=sent) for _ in range(2))

    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json()
    assert first.headers["RateLimit-Policy"] == '"notes";q=60;w=60'
    with notes.client.stream("GET", "/api/notes/events") as stream:
        assert next(line for line in stream.iter_lines() if line.startswith("data:")) == "data: hello"
    published = notes.wait_for_log("event published", kind="note.added", text="hello")
    # The environment is development, in which the caller's trace is continued.
    assert TRACE in published["trace"]


def test_a_note_needs_a_token(notes: Service) -> None:
    assert notes.client.post("/api/notes/hello").status_code == 401
