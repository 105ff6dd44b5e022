"""Startup and shutdown of a service with a database: exit codes, log messages and readiness."""

import socket
from pathlib import Path

import pytest
from starkeel_testing import exits, running, wait_until

from tools.registry import ROOT

NEEDED_SERVICES = ("accounts",)

REVISIONS = ROOT / "services/accounts/src/accounts/migrations"


@pytest.mark.parametrize("variable", ["PORT", "METRICS_PORT"])
def test_a_port_in_use_is_reported(variable: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        finished = exits("accounts", {variable: port, "DATABASE_URL": f"sqlite:///{tmp_path}/accounts.db"})

    assert finished.code == 71
    assert port in finished.output
    assert variable in finished.output
    assert "Traceback" not in finished.output


def test_an_unreachable_database_ends_the_start_after_the_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    url = f"postgresql://starkeel:hunter2@127.0.0.1:{port}/accounts"

    finished = exits("accounts", {"DATABASE_URL": url, "DB_STARTUP_TIMEOUT_SECONDS": "1"})

    assert finished.code == 69
    assert "hunter2" not in finished.output
    assert "Traceback" not in finished.output


def test_a_file_that_is_not_a_database_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "accounts.db"
    path.write_bytes(b"this is not a database, despite its name" * 100)

    finished = exits("accounts", {"DATABASE_URL": f"sqlite:///{path}", "DB_STARTUP_TIMEOUT_SECONDS": "1"})

    assert finished.code in {65, 69}
    assert "Traceback" not in finished.output


def test_startup_is_logged_in_order(database_url: str) -> None:
    with running("accounts", {"DATABASE_URL": database_url}) as service:
        expected = ["starting application", "database connected", "migrations complete", "listening"]
        messages = [line["message"] for line in service.logs() if line["message"] in expected]
        complete = service.wait_for_log("migrations complete")

    assert messages == expected
    assert complete["applied"] > 0


def test_shutdown_is_logged_in_order(database_url: str) -> None:
    with running("accounts", {"DATABASE_URL": database_url, "DRAIN_DELAY_SECONDS": "0"}) as service:
        assert service.terminate() == 0
        expected = ["received SIGTERM", "closing database connections", "shutdown complete"]
        messages = [line["message"] for line in service.logs() if line["message"] in expected]

    assert messages == expected


def test_probes_of_a_service_that_is_not_ready_are_not_logged(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/accounts.db"
    environ = {"DATABASE_URL": url, "RUN_MIGRATIONS": "false", "LOG_LEVEL": "info"}
    with running("accounts", environ, until="started") as service:
        assert [service.client.get("/health/ready").status_code for _ in range(3)] == [503] * 3
        service.client.get("/nowhere")
        service.wait_for_log("request completed", path="/nowhere")

        assert not [line for line in service.logs() if str(line.get("path", "")).startswith("/health/")]
        failed = [line["check"] for line in service.logs() if line["message"] == "readiness check failed"]
        # Each check once, however often it fails.
        assert sorted(failed) == ["database", "jobs"]


def test_pending_migrations_are_counted_until_they_are_applied(database_url: str) -> None:
    environ = {"DATABASE_URL": database_url, "RUN_MIGRATIONS": "false"}
    with running("accounts", environ, until="started") as service:
        assert service.client.get("/health/ready").status_code == 503
        pending = service.metric("db_migrations_pending")
        assert pending == len(list(REVISIONS.glob("[0-9]*.py"))) > 0

        assert exits("accounts", {"DATABASE_URL": database_url}, "migrate").code == 0
        wait_until(lambda: service.client.get("/health/ready").status_code == 200, what="it is ready")

        assert service.metric("db_migrations_pending") == 0
