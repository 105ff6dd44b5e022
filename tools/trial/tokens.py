"""Tokens of a user, one that is accepted and two that are not."""

import json
import time
from pathlib import Path
from uuid import uuid4

import jwt
from starkeel_auth import SigningKeys
from starkeel_testing import Service


def tokens(issuing: Service, private_key: str, folder: Path) -> dict[str, str]:
    """Register a user, and return the keys of `[auth]` in `seatrial.toml`.

    Args:
        issuing: The service that issues tokens.
        private_key: Its key, PEM.
        folder: Folder for the public keys.
    """
    credentials = {"email": f"{uuid4().hex}@example.com", "password": f"quiet lighthouse {uuid4().hex}"}
    issuing.client.post("/api/users", json=credentials).raise_for_status()
    answer = issuing.client.post("/api/auth/token", json=credentials).raise_for_status()
    token = str(answer.json()["access_token"])
    claims = jwt.decode(token, options={"verify_signature": False})
    now, keys = int(time.time()), SigningKeys.from_pem(private_key)
    public = folder / "keys.json"
    public.write_text(json.dumps(keys.jwks()), "utf-8")
    return {
        "jwks_file": str(public),
        "token": token,
        "expired_token": keys.sign({**claims, "iat": now - 7200, "exp": now - 3600}),
        "foreign_token": keys.sign({**claims, "aud": "another"}),
    }
