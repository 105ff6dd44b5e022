"""Calls to an upstream that requires a client certificate."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from starkeel_client import UpstreamSettings, UpstreamUrl, upstream
from starkeel_config import ConfigurationError, ServiceSettings, load
from starkeel_testing import running, wait_until
from structlog.testing import capture_logs

from ..support.certificates import Authority
from ..support.upstreams import Http2Upstream, TlsUpstream, calling

CLIENT_SAMPLE = Path(__file__).parents[2] / "packages" / "client" / "tests"


class Orders(ServiceSettings, frozen=True, kw_only=True):
    """A service with an upstream."""

    accounts: UpstreamSettings = upstream("ACCOUNTS")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def accounts(authority: Authority) -> Iterator[TlsUpstream]:
    certificate, key = authority.issue("accounts.example")
    upstream = TlsUpstream(certificate=certificate, key=key, client_ca=authority.certificate)
    yield upstream
    upstream.stop()


@pytest.mark.parametrize("http2", [False, True])
def test_the_client_certificate_is_presented(authority: Authority, http2: bool) -> None:
    served, served_key = authority.issue("accounts.example")
    certificate, key = authority.issue("orders.example")
    files = {"tls_ca_file": authority.certificate, "tls_cert_file": certificate, "tls_key_file": key}
    upstream = Http2Upstream(certificate=served, key=served_key, client_ca=authority.certificate)
    try:
        with calling(upstream.url, http2=http2, **files) as application:
            assert application.call().status_code == 200
    finally:
        upstream.stop()


def reasons(accounts: TlsUpstream, **settings: object) -> set[str]:
    """Return the logged reasons of failed calls."""
    with (
        capture_logs() as logged,
        calling(accounts.url, retries=0, breaker_open_s=0, timeout_s=30, **settings) as application,
    ):

        def has_reason() -> bool:
            assert application.call().status_code == 503
            # The server may reset the connection before the client reads why.
            return any("reason" in line for line in logged)

        wait_until(has_reason, timeout_s=30)
    return {line["reason"] for line in logged if "reason" in line}


def test_a_missing_client_certificate_is_named(accounts: TlsUpstream, authority: Authority) -> None:
    (reason,) = reasons(accounts, tls_ca_file=authority.certificate)

    assert reason.startswith("the upstream rejected the client certificate: ")
    assert reason.endswith("; check TLS_CERT_FILE")


@pytest.mark.parametrize("days", [-1, 1])
def test_a_rejected_client_certificate_is_named(
    accounts: TlsUpstream, authority: Authority, tmp_path: Path, days: int
) -> None:
    # Expired, or of an authority that the upstream does not trust.
    folder = tmp_path / "other"
    folder.mkdir()
    issuer = authority if days < 0 else Authority(folder)
    certificate, key = issuer.issue("orders.example", days=days)

    (reason,) = reasons(
        accounts, tls_ca_file=authority.certificate, tls_cert_file=certificate, tls_key_file=key
    )

    assert reason.startswith("the upstream rejected the client certificate: ")
    assert reason.endswith("; check TLS_CERT_FILE")
    assert ("expired" in reason) is (days < 0)


def test_an_upstream_with_an_unknown_authority_is_not_trusted(
    accounts: TlsUpstream, authority: Authority, tmp_path: Path
) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    certificate, key = authority.issue("orders.example")
    files = {"tls_cert_file": certificate, "tls_key_file": key}

    (reason,) = reasons(accounts, tls_ca_file=Authority(folder).certificate, **files)

    assert reason.startswith("the certificate of the upstream is not trusted: ")
    assert reason.endswith("; check URL and TLS_CA_FILE")


def test_a_certificate_is_loaded_again_when_its_files_change(
    accounts: TlsUpstream, authority: Authority, tmp_path: Path
) -> None:
    expired, old_key = authority.issue("old.example", days=-1)
    certificate, key = tmp_path / "client.pem", tmp_path / "client.key"
    shutil.copy(expired, certificate)
    shutil.copy(old_key, key)
    files = {"tls_ca_file": authority.certificate, "tls_cert_file": certificate, "tls_key_file": key}

    with calling(accounts.url, breaker_open_s=0, retries=0, **files) as application, capture_logs() as logged:
        assert application.call().status_code == 503
        valid, new_key = authority.issue("new.example")
        shutil.copy(valid, certificate)
        # Until its key has followed, the old pair is in use.
        wait_until(lambda: "upstream certificates not reloaded" in events(logged), timeout_s=30)
        assert application.call().status_code == 503
        shutil.copy(new_key, key)
        wait_until(lambda: "upstream certificates reloaded" in events(logged), timeout_s=30)
        assert application.call().status_code == 200


def events(logged: list[dict[str, object]]) -> set[object]:
    return {line["event"] for line in logged}


def test_a_running_service_follows_the_rotation_of_its_certificate(
    accounts: TlsUpstream, authority: Authority, tmp_path: Path
) -> None:
    certificate, key = tmp_path / "client.pem", tmp_path / "client.key"
    for file, source in zip((certificate, key), authority.issue("old.example", days=-1), strict=True):
        shutil.copy(source, file)
    environment = {
        "PYTHONPATH": str(CLIENT_SAMPLE),
        "ACCOUNTS_URL": accounts.url,
        "ACCOUNTS_TLS_CA_FILE": str(authority.certificate),
        "ACCOUNTS_TLS_CERT_FILE": str(certificate),
        "ACCOUNTS_TLS_KEY_FILE": str(key),
        "ACCOUNTS_BREAKER_OPEN_SECONDS": "0",
    }
    with running("client_sample", environment) as service:
        assert service.client.get("/call").status_code == 503
        line = service.wait_for_log("upstream failed", upstream="accounts")
        assert "certificate expired; check TLS_CERT_FILE" in line["reason"]

        for file, source in zip((certificate, key), authority.issue("new.example"), strict=True):
            shutil.copy(source, file)

        wait_until(lambda: service.client.get("/call").status_code == 200, timeout_s=30)
        service.wait_for_log("upstream certificates reloaded", upstream="accounts")


@pytest.mark.parametrize(
    ("variables", "variable"),
    [
        ({"TLS_CERT_FILE": "{certificate}"}, "TLS_KEY_FILE"),
        ({"TLS_KEY_FILE": "{key}"}, "TLS_CERT_FILE"),
        ({"TLS_CERT_FILE": "{certificate}", "TLS_KEY_FILE": "{other}"}, "TLS_KEY_FILE"),
        ({"TLS_CERT_FILE": "/missing.pem", "TLS_KEY_FILE": "{key}"}, "TLS_CERT_FILE"),
        ({"TLS_CA_FILE": "{key}"}, "TLS_CA_FILE"),
        ({"TLS_CA_FILE": "{certificate}", "URL": "http://accounts.example"}, "TLS_CA_FILE"),
    ],
)
def test_an_invalid_file_is_reported_with_its_variable(
    authority: Authority, variables: dict[str, str], variable: str
) -> None:
    certificate, key = authority.issue("orders.example")
    _, other = authority.issue("other.example")
    paths = {"certificate": certificate, "key": key, "other": other}
    given = {"URL": "https://accounts.example"} | variables
    environment = {f"ACCOUNTS_{name}": value.format(**paths) for name, value in given.items()}

    with pytest.raises(ConfigurationError) as caught:
        load(Orders, environment, service="orders")

    assert {problem.variable for problem in caught.value.problems} == {f"ACCOUNTS_{variable}"}


def test_valid_files_are_accepted_and_keys_are_not_logged(
    authority: Authority, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    certificate, key = authority.issue("orders.example")
    keys = tmp_path / "tls-keys"
    upstream = Http2Upstream(certificate=certificate, key=key)
    try:
        with calling(upstream.url, tls_ca_file=authority.certificate) as application:
            assert application.call().status_code == 200
        # The server has read its own environment. OpenSSL would write the secrets of every connection to it.
        monkeypatch.setenv("SSLKEYLOGFILE", str(keys))
        settings = UpstreamSettings(url=UpstreamUrl(upstream.url), tls_ca_file=authority.certificate)
        assert list(settings.problems("production")) == []
        with calling(upstream.url, tls_ca_file=authority.certificate) as application:
            assert application.call().status_code == 200
    finally:
        upstream.stop()

    assert not keys.exists() or "SECRET" not in keys.read_text()
