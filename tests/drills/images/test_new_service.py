"""The image of a service that `just new-service` has made."""

import time
from pathlib import Path
from uuid import uuid4

import httpx2
from starkeel_auth import SigningKeys

from ...support.workspace_copy import copied, run
from .container_fleet import HARDENED, MEMORY, Container, Fleet
from .docker import Docker

IMAGE = "starkeel-test/warehouse:new"


def test_it_is_built_and_serves_requests(
    docker: Docker, containers: Fleet, accounts: Container, tmp_path: Path
) -> None:
    root = copied(tmp_path)
    done = run(root, "new_service", "warehouse", "--needs", "database,redis", "--calls", "accounts")
    assert done.returncode == 0, done.stderr
    docker.build(root, IMAGE, "--file", root / "deploy/Dockerfile", arguments={"SERVICE": "warehouse"})
    env = containers.environment("accounts") | {
        "JWT_JWKS_URL": "http://accounts:3000/.well-known/jwks.json",
        "JWT_REVOCATIONS_URL": "http://accounts:3000/.well-known/revocations",
        "ACCOUNTS_URL": "http://accounts:3000",
        "DATABASE_URL_FILE": "/run/secrets/warehouse-database",
    }
    # It has no key: it verifies tokens.
    del env["JWT_PRIVATE_KEY_FILE"]
    containers.create_database("warehouse")
    variables = [part for pair in env.items() for part in ("--env", "=".join(pair))]
    volume = ["--volume", f"{containers.directory}:/run/secrets:ro", "--publish", "127.0.0.1::3000"]
    warehouse = containers.run("warehouse", IMAGE, *HARDENED, *MEMORY, *variables, *volume)
    warehouse.wait_until_ready()

    with httpx2.Client(base_url=warehouse.url(), timeout=30, trust_env=False) as client:
        headers = {"Authorization": f"Bearer {_token(containers, _registered(accounts))}"}
        creation = {"name": "oak-plank", "quantity": 3}
        created = client.post(
            "/api/warehouse/items", json=creation, headers={**headers, "Idempotency-Key": str(uuid4())}
        )
        listed = client.get("/api/warehouse/items", headers=headers)

    assert created.status_code == 201, created.text
    assert [item["id"] for item in listed.json()["items"]] == [created.json()["id"]]
    assert [line for line in warehouse.logs() if line["level"] not in {"INFO", "DEBUG"}] == []


def _registered(accounts: Container) -> str:
    """Register a user; return the id."""
    user = {"email": f"{uuid4().hex}@example.com", "password": "seven quiet lighthouses"}
    with httpx2.Client(base_url=accounts.url(), timeout=30, trust_env=False) as client:
        return str(client.post("/api/users", json=user).raise_for_status().json()["id"])


def _token(containers: Fleet, user_id: str) -> str:
    """Sign a token of a user, with the scopes of the service, as accounts does once it is built with them."""
    now, env = int(time.time()), containers.environment("accounts")
    keys = SigningKeys.from_pem((containers.directory / "signing-key").read_text())
    claims = {"iss": env["JWT_ISSUER"], "aud": env["JWT_AUDIENCE"], "sub": user_id, "client_id": "accounts"}
    claims |= {"jti": str(uuid4()), "scope": "warehouse:read warehouse:write"}
    return keys.sign({**claims, "iat": now, "exp": now + 600})
