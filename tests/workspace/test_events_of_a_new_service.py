"""The steps for jobs and consumed events of docs/how-to/add-a-service.md, in a service of the template."""

import os
import re
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import pytest
from starkeel_auth import SigningKeys, generate_private_key_pem
from starkeel_testing import Service, running

from tools.registry import ROOT
from tools.service_template.options import Options
from tools.service_template.render import render

from ..support.accounts import sign_in
from ..support.documented_commands import steps

NEEDED_SERVICES = ("accounts",)
pytestmark = pytest.mark.timeout(400)
PAGE = ROOT / "docs/how-to/add-a-service.md"
TOKENS = {"JWT_ISSUER": "https://accounts.example.com", "JWT_AUDIENCE": "shop"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The sources of a new service, changed as the page describes."""
    options = Options(
        name="stockroom", resource="item", needs=["database", "broker", "tokens"], calls=[],
        issuer="accounts", port=4000, admin_port=9500,
    )  # fmt: skip
    package = tmp_path / "stockroom"
    for name, text in render(options, ROOT).items():
        if name.startswith("src/"):
            (tmp_path / name.removeprefix("src/")).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name.removeprefix("src/")).write_text(text)
    blocks = {step.argument: step.text for step in steps(PAGE) if step.kind == "file"}
    (package / "cleaning.py").write_text(blocks["cleaning.py"])
    plugins = blocks["plugins"].removeprefix("plugins = [\n").removesuffix("]\n")
    _change(
        package / "settings.py",
        ("from starkeel_messaging", "from starkeel_jobs import JobSettings\nfrom starkeel_messaging"),
        ("    messaging: MessagingSettings\n", "    messaging: MessagingSettings\n    jobs: JobSettings\n"),
    )
    _change(
        package / "app.py",
        ("from starkeel_messaging", "from starkeel_jobs import JobsPlugin\nfrom starkeel_messaging"),
        ("from .items_api", "from .cleaning import delete_items_of_user, delete_old_items\nfrom .items_api"),
        (re.search(r"MessagingPlugin\(settings.*\n", (package / "app.py").read_text())[0], plugins),
    )
    return tmp_path


def _change(file: Path, *changes: tuple[str, str]) -> None:
    text = file.read_text()
    for old, new in changes:
        assert text.count(old) == 1, (file, old)
        text = text.replace(old, new)
    file.write_text(text)


def test_an_event_of_another_service_and_a_schedule_are_handled(folder: Path) -> None:
    own = {"DATABASE_URL": f"sqlite:///{folder}/stockroom.db", "PYTHONPATH": str(folder), **TOKENS}
    own["BROKER_URL"] = f"sqlite:///{folder}/broker.db"
    pem = generate_private_key_pem()
    issuing = {"JWT_PRIVATE_KEY": pem, "BROKER_URL": own["BROKER_URL"], **TOKENS}
    issuing["DATABASE_URL"] = f"sqlite:///{folder}/accounts.db"
    with running("accounts", issuing) as accounts:
        own["JWT_JWKS_URL"] = f"{accounts.url}/.well-known/jwks.json"
        own["JWT_REVOCATIONS_URL"] = f"{accounts.url}/.well-known/revocations"
        _run(["migrate"], own)
        _run(["revision", "add the tables of jobs"], own)
        # It applies the new migration.
        with running("stockroom", own) as stockroom:
            leaving, staying = sign_in(accounts.client), sign_in(accounts.client)
            tokens = [_token(accounts, headers, pem) for headers in (leaving, staying)]
            for quantity, token in enumerate(tokens, 12):
                _create(stockroom, token, quantity=quantity)
            body = {"password": "seven quiet lighthouses"}
            gone = accounts.client.request("DELETE", "/api/users/me", headers=leaving, json=body)
            assert gone.status_code == 204, gone.text
            stockroom.wait_for_log("job succeeded", timeout_s=60, job="delete_items_of_user")

            assert stockroom.metric("jobs_total", job="delete_old_items", result="failed") == 0
            kept = stockroom.client.get("/api/stockroom/items", headers=tokens[1]).json()["items"]
            assert [item["quantity"] for item in kept] == [13]
            with closing(sqlite3.connect(folder / "stockroom.db")) as database:
                assert database.execute("SELECT quantity FROM stockroom_items").fetchall() == [(13,)]


def _token(accounts: Service, headers: dict[str, str], pem: str) -> dict[str, str]:
    """Return headers with a token for the scopes of the new service, which is in no registry."""
    user_id, now = accounts.client.get("/api/users/me", headers=headers).json()["id"], int(time.time())
    claims = {
        "iss": TOKENS["JWT_ISSUER"], "aud": TOKENS["JWT_AUDIENCE"], "sub": user_id, "client_id": "accounts",
        "iat": now, "exp": now + 3600, "jti": str(uuid4()), "scope": "stockroom:read stockroom:write",
    }  # fmt: skip
    return {"Authorization": f"Bearer {SigningKeys.from_pem(pem).sign(claims)}"}


def _create(stockroom: Service, headers: dict[str, str], *, quantity: int) -> None:
    headers = headers | {"Idempotency-Key": str(uuid4())}
    created = stockroom.client.post(
        "/api/stockroom/items", json={"name": "oak-plank", "quantity": quantity}, headers=headers
    )
    assert created.status_code == 201, created.text


def _run(command: list[str], env: dict[str, str]) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "stockroom", *command],
        env={"PATH": os.environ["PATH"], "ENVIRONMENT": "development", **env},
        capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
