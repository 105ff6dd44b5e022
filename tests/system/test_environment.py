"""Variables that libraries read unasked: each is handled, refused at the start with 78, or harmless."""

import ctypes
import os
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest
from starkeel_testing import exits, running

NEEDED_SERVICES = ("accounts",)

_LIBC = ctypes.CDLL(None)
_PR_CAPBSET_DROP = 24
_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH = 1, 2
_NOWHERE = "http://127.0.0.1:1"
HARMLESS: dict[str, Mapping[str, str]] = {
    "proxies and certificates": {
        **dict.fromkeys(("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY"), _NOWHERE),
        "no_proxy": "example.com",
        "NETRC": "/nonexistent",
        "SSL_CERT_FILE": "/nonexistent",
        "SSL_CERT_DIR": "/nonexistent",
        "REQUESTS_CA_BUNDLE": "/nonexistent",
    },
    "PostgreSQL": {
        "PGHOST": "127.0.0.1",
        "PGPORT": "1",
        "PGUSER": "nobody",
        "PGPASSWORD": "wrong",
        "PGDATABASE": "nothing",
        "PGPASSFILE": "/nonexistent",
        "PGSERVICE": "nothing",
        "PGSERVICEFILE": "/nonexistent",
        "PGSSLMODE": "verify-full",
        "PGSSLCERT": "/nonexistent",
        "PGSSLKEY": "/nonexistent",
        "PGSSLROOTCERT": "/nonexistent",
        "PGSSLCRL": "/nonexistent",
        "PGSSLNEGOTIATION": "direct",
        "PGSSLMINPROTOCOLVERSION": "nonsense",
        "PGTARGETSESSIONATTRS": "standby",
        "PGGSSLIB": "nonsense",
        "PGOPTIONS": "-c nonsense=1",
        "PGAPPNAME": "other",
    },
    "servers and frameworks": {
        **{f"GRANIAN_{name}": "nonsense" for name in ("HOST", "PORT", "WORKERS", "INTERFACE", "LOOP")},
        **{f"LITESTAR_{name}": "nonsense" for name in ("APP", "HOST", "PORT", "DEBUG")},
        "UVICORN_PORT": "nonsense",
        "WEB_CONCURRENCY": "nonsense",
        "FORWARDED_ALLOW_IPS": "*",
        "ALEMBIC_CONFIG": "/nonexistent",
        "PROMETHEUS_MULTIPROC_DIR": "/nonexistent",
        "prometheus_multiproc_dir": "/nonexistent",
        "PROMETHEUS_DISABLE_CREATED_SERIES": "nonsense",
        "NOTIFY_SOCKET": "/nonexistent",
        "LISTEN_FDS": "7",
        "LISTEN_PID": "1",
        "WATCHDOG_USEC": "1",
        "SQLALCHEMY_WARN_20": "1",
    },
    "Python, optimized": {
        "PYTHONOPTIMIZE": "2",
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",
        "PYTHONNOUSERSITE": "1",
        "PYTHONINSPECT": "1",
        "PYTHONFAULTHANDLER": "1",
        "PYTHONMALLOC": "malloc",
        "PYTHONSAFEPATH": "1",
    },
    "Python, verbose": {"PYTHONDEVMODE": "1", "PYTHONASYNCIODEBUG": "1", "PYTHONWARNINGS": "default"},
    "encoding and time zone": {
        "LANG": "C",
        "LC_ALL": "POSIX",
        "PYTHONUTF8": "0",
        "PYTHONCOERCECLOCALE": "0",
        "TZ": "America/New_York",
    },
    "home directory": {"HOME": "/nonexistent", "XDG_CONFIG_HOME": "/nonexistent", "USER": "", "LOGNAME": ""},
    "OpenTelemetry": {
        "OTEL_PYTHON_ID_GENERATOR": "nonsense",
        "OTEL_PYTHON_LOG_CORRELATION": "nonsense",
        "OTEL_PYTHON_EXCLUDED_URLS": "[",
        "OTEL_PYTHON_LOGGER_PROVIDER": "nonsense",
        "OTEL_SEMCONV_STABILITY_OPT_IN": "nonsense",
    },
}
REFUSED = {
    "OTEL_PROPAGATORS": "b3",
    "OTEL_PYTHON_CONTEXT": "nonsense",
    "OTEL_PYTHON_TRACER_PROVIDER": "nonsense",
    "OTEL_PYTHON_METER_PROVIDER": "nonsense",
    "PYTHONWARNINGS": "error",
}


@pytest.mark.needs_postgres
@pytest.mark.parametrize("kind", HARMLESS)
def test_a_service_ignores_variables_that_are_not_its_own(
    postgres_url: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind == "Python, verbose":
        # Python itself writes warnings with the paths of files then.
        monkeypatch.setattr("starkeel_testing._service.CHECKED", set())
    account = {"email": "ada@example.com", "password": "correct horse battery staple"}

    with running("accounts", {"DATABASE_URL": postgres_url, **HARMLESS[kind]}) as service:
        answer = service.client.post("/api/users", json=account)
        assert answer.status_code == 201, answer.text
        service.client.get("/api/caf%C3%A9")
        # UTC and UTF-8, whatever the time zone and the locale are.
        line = service.wait_for_log_where(lambda line: "/api/caf" in str(line))
        assert "/api/café" in str(line) or "/api/caf%C3%A9" in str(line)
        now = datetime.now(UTC)
        assert abs(now - datetime.fromisoformat(line["timestamp"])) < timedelta(minutes=5)
        assert not [line for line in service.logs() if line["level"] == "ERROR"]


@pytest.mark.parametrize("variable", REFUSED)
@pytest.mark.parametrize("command", ["serve", "config"])
def test_values_that_cannot_work_are_refused_by_name(variable: str, command: str) -> None:
    finished = exits("accounts", {variable: REFUSED[variable]}, command)

    assert finished.code == 78
    assert variable in finished.output
    assert "Traceback" not in finished.output


def without_access() -> None:
    """Have root respect permissions, as other users do."""
    for capability in (_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH):
        _LIBC.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)


@pytest.mark.needs_postgres
@pytest.mark.parametrize("mode", ["disable", "allow", "prefer"])
@pytest.mark.parametrize("has_password", [True, False])
def test_the_home_directory_may_belong_to_another_user(
    postgres_url: str, tmp_path: Path, mode: str, has_password: bool
) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    if os.geteuid() == 0:
        os.chown(home, 12345, 12345)
    parts = urlsplit(postgres_url)
    if not has_password:
        parts = parts._replace(netloc=f"{parts.username}@{parts.hostname}:{parts.port}")
    url = urlunsplit(parts._replace(query=f"sslmode={mode}"))
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "ENVIRONMENT": "development",
        "DATABASE_URL": url,
        "DB_STARTUP_TIMEOUT_SECONDS": "1",
    }

    done = subprocess.run(
        [sys.executable, "-m", "accounts", "migrate"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=environ,
        cwd=tmp_path,
        preexec_fn=without_access,
    )

    assert "permission denied" not in done.stdout
    # Without a password the server decides.
    assert done.returncode == 0 or (not has_password and "the password is wrong" in done.stdout), done.stdout
