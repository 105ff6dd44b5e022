"""Source of the signing key."""

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from accounts.tokens import signing_keys
from starkeel_auth import generate_private_key_pem
from starkeel_config import Secret


def test_a_development_key_is_generated_once_and_private(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/data/accounts.db"

    first = signing_keys(None, database_url=url).jwks()
    second = signing_keys(None, database_url=url).jwks()

    assert first == second
    [file] = (tmp_path / "data").iterdir()
    assert file.name == "accounts.jwt-private-key.pem"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_concurrent_starts_use_the_same_key(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/accounts.db"

    with ThreadPoolExecutor(16) as pool:
        keys = list(pool.map(lambda _: str(signing_keys(None, database_url=url).jwks()), range(16)))

    assert len(set(keys)) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["accounts.jwt-private-key.pem"]


def test_with_another_database_the_key_is_in_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    signing_keys(None, database_url="postgresql://127.0.0.1/accounts").jwks()

    assert (tmp_path / ".data" / "accounts.jwt-private-key.pem").exists()


def test_a_configured_key_is_used_and_no_file_is_written(tmp_path: Path) -> None:
    pem = generate_private_key_pem()

    signing_keys(Secret(pem), database_url=f"sqlite:///{tmp_path}/accounts.db")

    assert not list(tmp_path.iterdir())
