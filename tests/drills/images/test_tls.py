"""TLS of the process, to an upstream and to PostgreSQL, from inside the image."""

import shutil
import ssl

import httpx2
import pytest
from starkeel_testing import wait_until

from ...support.certificates import Authority
from .container_fleet import Container, Fleet, postgres

NEEDED_SERVICES = ("accounts", "orders")


@pytest.fixture(scope="module")
def authority(containers: Fleet) -> Authority:
    """An authority with its files in the folder of the secrets."""
    return Authority(containers.directory)


@pytest.fixture(scope="module")
def secure_accounts(containers: Fleet, authority: Authority) -> Container:
    """Accounts with TLS."""
    authority.issue("secure-accounts")
    container = containers.service("accounts", env=_serving("secure-accounts"), alias="secure-accounts")
    _wait_until_healthy(container)
    return container


def test_the_process_and_its_health_check_use_tls(secure_accounts: Container, authority: Authority) -> None:
    url = secure_accounts.url().replace("http:", "https:")
    trusting = ssl.create_default_context(cafile=authority.certificate)
    assert httpx2.get(f"{url}/health/ready", verify=trusting, trust_env=False).status_code == 200
    with pytest.raises(httpx2.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        httpx2.get(f"{url}/health/ready", verify=ssl.create_default_context(), trust_env=False)


def test_with_client_certificates_the_health_check_uses_the_admin_port(
    containers: Fleet, authority: Authority
) -> None:
    authority.issue("strict")
    env = _serving("strict") | {"TLS_CLIENT_CA_FILE": "/run/secrets/authority.pem"}
    container = containers.service("accounts", env=env, alias="strict")
    _wait_until_healthy(container)
    url = container.url().replace("http:", "https:")
    trusting = ssl.create_default_context(cafile=authority.certificate)
    with pytest.raises((httpx2.TransportError, ssl.SSLError)):
        httpx2.get(f"{url}/health/ready", verify=trusting, trust_env=False)
    trusting.load_cert_chain(*authority.issue("client"))
    assert httpx2.get(f"{url}/health/ready", verify=trusting, trust_env=False).status_code == 200


def test_an_https_upstream_is_reached_and_verified(
    containers: Fleet, secure_accounts: Container, caller: dict[str, str]
) -> None:
    upstream = {
        "ACCOUNTS_URL": "https://secure-accounts:3000",
        "JWT_JWKS_URL": "https://secure-accounts:3000/.well-known/jwks.json",
    }
    trusting = containers.service(
        "orders", env=upstream | {"SSL_CERT_FILE": "/run/secrets/authority.pem"}, alias="trusting"
    )
    trusting.wait_until_ready()
    assert _order(trusting, caller).status_code == 201

    doubting = containers.service("orders", env=upstream, alias="doubting")
    doubting.wait_until_ready("/health/live")
    assert _order(doubting, caller).status_code == 503
    assert "certificate verify failed" in doubting.output().lower()


def test_postgresql_is_verified_in_full(containers: Fleet, authority: Authority) -> None:
    database = _secure_postgres(containers, authority)
    where = f"postgresql://postgres:{(containers.directory / 'password').read_text()}@{{host}}:5432/postgres"
    query = "?sslmode=verify-full&sslrootcert=/run/secrets/authority.pem"
    containers.file("secure-database", where.format(host="secure-postgres") + query)
    verified = containers.service(
        "accounts", env={"DATABASE_URL_FILE": "/run/secrets/secure-database"}, alias="verified"
    )
    verified.wait_until_ready()
    shown = containers.docker(
        "exec", "--env", f"PGPASSWORD={(containers.directory / 'password').read_text()}", database.name,
        "psql", "-U", "postgres", "-Atc",
        "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE client_port > 0",
    )  # fmt: skip
    assert shown == "t"

    # The same server by a name that is not in its certificate.
    containers.file("misnamed-database", where.format(host="misnamed-postgres") + query)
    env = {"DATABASE_URL_FILE": "/run/secrets/misnamed-database", "DB_STARTUP_TIMEOUT_SECONDS": "3"}
    refused = containers.service("accounts", env=env, alias="refused")
    wait_until(lambda: refused.state()["Status"] == "exited", timeout_s=60, what=refused.output)
    assert refused.state()["ExitCode"] == 69, refused.output()


def _serving(name: str) -> dict[str, str]:
    return {"TLS_CERT_FILE": f"/run/secrets/{name}.pem", "TLS_KEY_FILE": f"/run/secrets/{name}.key"}


def _wait_until_healthy(container: Container) -> None:
    wait_until(
        lambda: container.state()["Health"]["Status"] == "healthy", timeout_s=90, what=container.output
    )


def _order(orders: Container, caller: dict[str, str]) -> httpx2.Response:
    headers = caller | {"Idempotency-Key": "tls"}
    order = {"product_type": "oak-plank", "quantity": 1}
    return httpx2.post(f"{orders.url()}/api/orders", json=order, headers=headers, timeout=30, trust_env=False)


def _secure_postgres(containers: Fleet, authority: Authority) -> Container:
    certificate, key = authority.issue("secure-postgres")
    folder = containers.directory / "postgres"
    folder.mkdir()
    for path, name in ((certificate, "server.crt"), (key, "server.key")):
        shutil.copy(path, folder / name)
        shutil.chown(folder / name, 999, 999)
        (folder / name).chmod(0o600)
    options = ("--volume", f"{folder}:/tls:ro", "--network-alias", "misnamed-postgres")
    settings = ("ssl=on", "ssl_cert_file=/tls/server.crt", "ssl_key_file=/tls/server.key")
    return postgres(containers, "secure-postgres", *options, settings=settings)
