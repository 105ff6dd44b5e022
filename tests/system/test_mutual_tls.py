"""Mutual TLS between two processes: accounts, and a service that calls it with starkeel-client."""

import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from starkeel_auth import generate_private_key_pem
from starkeel_testing import Service, running, wait_until

from ..support.certificates import Authority

NEEDED_SERVICES = ("accounts", "orders")
CLIENT_SAMPLE = Path(__file__).parents[2] / "packages" / "client" / "tests"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def accounts(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A running accounts that requires client certificates."""
    certificate, key = authority.issue("accounts.example")
    environment = {
        "DATABASE_URL": f"sqlite:///{tmp_path_factory.mktemp('accounts')}/accounts.db",
        "JWT_PRIVATE_KEY": generate_private_key_pem(),
        "JWT_ISSUER": "https://accounts.example",
        "JWT_AUDIENCE": "shop",
        "TLS_CERT_FILE": str(certificate),
        "TLS_KEY_FILE": str(key),
        "TLS_CLIENT_CA_FILE": str(authority.certificate),
    }
    with running("accounts", environment, certificate=authority.issue("probe.example")) as service:
        yield service


def orders(accounts: Service, authority: Authority, files: tuple[Path, Path], folder: Path) -> dict[str, str]:
    """Return the environment of orders, which verifies the tokens of accounts."""
    environment = {"DATABASE_URL": f"sqlite:///{folder}/orders.db", "ACCOUNTS_URL": accounts.url}
    environment |= {"JWT_ISSUER": "https://accounts.example", "JWT_AUDIENCE": "shop"}
    environment |= {
        "JWT_JWKS_URL": f"{accounts.url}/.well-known/jwks.json",
        "JWT_REVOCATIONS_URL": f"{accounts.url}/.well-known/revocations",
        "JWT_REVOCATIONS_INTERVAL_SECONDS": "1",
    }
    for prefix in ("JWT", "ACCOUNTS"):
        environment[f"{prefix}_TLS_CA_FILE"] = str(authority.certificate)
        environment[f"{prefix}_TLS_CERT_FILE"], environment[f"{prefix}_TLS_KEY_FILE"] = map(str, files)
    return environment


def caller(
    accounts: Service, authority: Authority, files: tuple[Path, Path] | None
) -> AbstractContextManager[Service]:
    """Run a service that calls accounts, with the files of its certificate if there are any."""
    environment = {
        "PYTHONPATH": str(CLIENT_SAMPLE),
        "ACCOUNTS_URL": accounts.url,
        "ACCOUNTS_TLS_CA_FILE": str(authority.certificate),
        "ACCOUNTS_BREAKER_OPEN_SECONDS": "0",
    }
    if files is not None:
        environment |= dict(
            zip(("ACCOUNTS_TLS_CERT_FILE", "ACCOUNTS_TLS_KEY_FILE"), map(str, files), strict=True)
        )
    return running("client_sample", environment)


def rejection(service: Service) -> str:
    """Call accounts, which rejects it, and return the logged reason."""
    reasons: set[str] = set()

    def has_reason() -> bool:
        assert service.client.get("/call").status_code == 503
        # Accounts may reset the connection before the client reads why.
        reasons.update(
            line["reason"] for line in service.logs() if "rejected the client" in line.get("reason", "")
        )
        return bool(reasons)

    wait_until(has_reason, timeout_s=60)
    return " ".join(reasons)


def reloads(service: Service) -> int:
    return sum(line["message"] == "upstream certificates reloaded" for line in service.logs())


def test_a_call_presents_the_certificate_of_its_files_also_after_their_rotation(
    accounts: Service, authority: Authority, tmp_path: Path
) -> None:
    certificate, key = tmp_path / "client.pem", tmp_path / "client.key"
    for file, source in zip((certificate, key), authority.issue("old.example", days=-1), strict=True):
        shutil.copy(source, file)
    with caller(accounts, authority, (certificate, key)) as service:
        assert "expired; check TLS_CERT_FILE" in rejection(service)

        for name in ("first.example", "second.example"):
            before = reloads(service)
            for file, source in zip((certificate, key), authority.issue(name), strict=True):
                shutil.copy(source, file)
            wait_until(lambda before=before: reloads(service) > before, timeout_s=60)
            # Of accounts, which has no such route.
            response = service.client.get("/call")
            assert (response.status_code, response.json()["status"]) == (404, 404)


def test_a_call_without_a_certificate_is_rejected(accounts: Service, authority: Authority) -> None:
    with caller(accounts, authority, None) as service:
        assert rejection(service).endswith("; check TLS_CERT_FILE")


def test_a_call_with_a_foreign_certificate_is_rejected(
    accounts: Service, authority: Authority, tmp_path: Path
) -> None:
    folder = tmp_path / "foreign"
    folder.mkdir()
    with caller(accounts, authority, Authority(folder).issue("orders.example")) as service:
        assert service.client.get("/call").status_code == 503
        line = service.wait_for_log("upstream failed", upstream="accounts")

    # The reset of the connection may arrive before its reason.
    assert "rejected the client certificate" in line.get("reason", "rejected the client certificate")


def test_tokens_are_verified_by_keys_that_need_a_certificate_also_after_its_rotation(
    accounts: Service, authority: Authority, tmp_path: Path
) -> None:
    certificate, key = tmp_path / "orders.pem", tmp_path / "orders.key"
    for file, source in zip((certificate, key), authority.issue("old.example", days=-1), strict=True):
        shutil.copy(source, file)
    user = {"email": "ada@example.com", "password": "seven quiet lighthouses"}
    assert accounts.client.post("/api/users", json=user).status_code == 201
    token = accounts.client.post("/api/auth/token", json=user).json()["access_token"]
    bearer = {"Authorization": f"Bearer {token}"}
    with running(
        "orders", orders(accounts, authority, (certificate, key), tmp_path), until="started"
    ) as service:
        service.wait_for_log("token key fetch failed")
        service.wait_for_log("revocation list fetch failed")
        assert service.client.get("/api/orders", headers=bearer).status_code == 503

        for file, source in zip((certificate, key), authority.issue("orders.example"), strict=True):
            shutil.copy(source, file)

        wait_until(lambda: service.client.get("/api/orders", headers=bearer).status_code == 200, timeout_s=60)
        wait_until(lambda: service.client.get("/health/ready").status_code == 200, timeout_s=60)
        # The list of ended sessions needs the certificate as well.
        assert accounts.client.post("/api/auth/sign-out-everywhere", headers=bearer).status_code == 204
        wait_until(lambda: service.client.get("/api/orders", headers=bearer).status_code == 401, timeout_s=60)
