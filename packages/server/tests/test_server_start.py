"""Startup, step by step, and the failures of each step."""

import os
import re
import signal
import socket
import ssl
from typing import Any

import httpx2
import pytest


def test_startup_steps_are_logged_in_order(samples: Any) -> None:
    sample = samples.ready()

    expected = [
        "starting application",
        "admin port opened",
        "features",
        "database connected",
        "migrations complete",
        "listening",
        "workers started",
    ]
    assert [message for message in sample.messages if message in expected] == expected
    start = sample.wait_for_log("starting application")
    assert start["service"] == "sample"
    assert start["environment"] == "production"
    assert start["pid"] == sample.process.pid
    assert {"version", "python"} <= start.keys()
    assert sample.wait_for_log("migrations complete")["applied"] == 3
    features = sample.wait_for_log("features")
    assert "sampling (always)" in features["on"]
    assert "tls (TLS_CERT_FILE is not set)" in features["off"]
    assert sample.stop() == 0


def test_processes_receive_their_role_and_index(samples: Any) -> None:
    sample = samples.ready(WORKERS=2)

    started = [line for line in sample.logs if line["message"] == "process started"]

    processes = sorted((line["role"], line["index"], line["workers"]) for line in started)
    assert processes == [("main", 0, 2), ("worker", 0, 2), ("worker", 1, 2)]
    assert len({line["process"] for line in started}) == 3


def test_every_invalid_variable_is_reported_and_nothing_else(samples: Any) -> None:
    sample = samples.finished(PORT=70000, WORKERS="many", SAMPLE_PASSWORD="")

    assert sample.process.returncode == 78
    assert sample.lines == []
    text = "".join(sample.errors)
    assert text.startswith("the configuration of sample has 3 problems\n")
    for problem in ("PORT is '70000'", "WORKERS is 'many'", "SAMPLE_PASSWORD is not set"):
        assert problem in text


@pytest.mark.parametrize("variable", ["PORT", "METRICS_PORT"])
def test_a_port_in_use_is_reported_with_its_variable(samples: Any, variable: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        sample = samples.finished(**{variable: port})

    assert sample.process.returncode == 71
    reason = sample.wait_for_log("could not start")["reason"]
    assert f"127.0.0.1:{port}" in reason
    assert variable in reason.split()
    assert "Traceback" not in sample.output
    assert list(samples.tmp.iterdir()) == []


@pytest.mark.parametrize(
    ("fails", "code", "reason"), [("connect", 69, "was unavailable"), ("migrate", 65, "migration 7")]
)
def test_an_unusable_database_ends_the_process(samples: Any, fails: str, code: int, reason: str) -> None:
    sample = samples.finished(SAMPLE_FAILS=fails)

    assert sample.process.returncode == code
    assert reason in sample.wait_for_log("could not start", level="error")["reason"]
    assert "listening" not in sample.messages
    assert "process stopped" in sample.messages
    assert "Traceback" not in sample.output


def test_a_failing_application_factory_is_reported_with_a_traceback(samples: Any) -> None:
    sample = samples.finished(SAMPLE_FAILS="import", WORKERS=2)

    assert sample.process.returncode == 1
    line = sample.wait_for_log("could not start", level="error")
    assert line["reason"] == "RuntimeError: the application is broken"
    assert "in create_app" in line["traceback"]
    # Reported once, not by every worker.
    assert sample.output.count("the application is broken\\n") == 1


def test_an_application_without_the_plugin_is_rejected(samples: Any) -> None:
    sample = samples.finished(SAMPLE_FAILS="no plugin")

    assert sample.process.returncode == 1
    assert "has no ServerPlugin" in sample.output
    assert "Traceback" not in sample.output


def test_the_admin_port_answers_while_migrations_run_and_the_application_port_is_closed(samples: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    sample = samples.start(SAMPLE_FAILS="migrate hangs", PORT=port)
    sample.wait_for_log("migrating")

    live, ready = httpx2.get(f"{sample.admin}/live"), httpx2.get(f"{sample.admin}/ready")

    assert live.status_code == 200
    assert (ready.status_code, ready.json()) == (503, {"status": "not ready", "reason": "migrations"})
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_migrations_run_ends_the_process(samples: Any, number: signal.Signals) -> None:
    sample = samples.start(SAMPLE_FAILS="migrate hangs")
    sample.wait_for_log("migrating")

    sample.signal(number)

    assert sample.wait(timeout_s=5) == 0
    assert sample.messages[-2:] == ["shutdown complete", "process stopped"]
    assert "Traceback" not in sample.output
    assert list(samples.tmp.iterdir()) == []


def test_killing_the_main_process_cancels_a_migration(samples: Any) -> None:
    sample = samples.start(SAMPLE_FAILS="migrate hangs", WORKERS=2)
    sample.wait_for_log("migrating")

    sample.process.kill()

    samples.wait_until(lambda: not samples.processes())
    assert "migration ended: CancelledError" in sample.messages
    assert "Traceback" not in sample.output


def test_killing_the_first_worker_ends_the_startup(samples: Any) -> None:
    sample = samples.start(SAMPLE_FAILS="migrate hangs", WORKERS=2)
    sample.wait_for_log("migrating")
    first = sample.wait_for_log("process started", role="worker", index=0)["process"]

    os.kill(first, signal.SIGKILL)

    assert sample.wait() == 1
    reason = sample.wait_for_log("could not start", level="error")["reason"]
    assert reason == "the first worker ended before it had prepared the startup"
    assert list(samples.tmp.iterdir()) == []


def test_a_signal_before_the_imports_ends_the_process_without_a_traceback(samples: Any) -> None:
    (samples.directory / "sample" / "settings.py").write_text(
        "import os, signal, time\nos.kill(os.getpid(), signal.SIGTERM)\ntime.sleep(60)\n"
    )
    sample = samples.finished()

    assert sample.process.returncode == 0
    assert sample.output == "received SIGTERM\nshutdown complete\n"


def test_a_signal_while_the_application_is_imported_ends_the_process_without_a_traceback(
    samples: Any,
) -> None:
    app = samples.directory / "sample" / "app.py"
    app.write_text("import os, signal, time\nos.kill(os.getppid(), signal.SIGINT)\ntime.sleep(60)\n")
    sample = samples.finished()

    assert sample.process.returncode == 0
    assert sample.messages[-3:] == ["received Ctrl+C", "shutdown complete", "process stopped"]
    assert "Traceback" not in sample.output
    assert list(samples.tmp.iterdir()) == []


def test_tls_1_2_and_1_3_are_supported(samples: Any, certificate: Any) -> None:
    sample = samples.start(TLS_CERT_FILE=certificate.cert, TLS_KEY_FILE=certificate.key)
    sample.wait_for_log("workers started")
    assert sample.wait_for_log("listening")["tls"] is True
    url = f"https://localhost:{sample.url.rpartition(':')[2]}"

    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = ssl.create_default_context(cafile=certificate.authority)
        context.minimum_version = context.maximum_version = version
        assert httpx2.get(f"{url}/pid", verify=context).status_code == 200


def test_clients_without_a_required_certificate_are_rejected(samples: Any, certificate: Any) -> None:
    sample = samples.start(
        TLS_CERT_FILE=certificate.cert, TLS_KEY_FILE=certificate.key, TLS_CLIENT_CA_FILE=certificate.authority
    )
    sample.wait_for_log("workers started")
    url = f"https://localhost:{sample.url.rpartition(':')[2]}/pid"
    anonymous = ssl.create_default_context(cafile=certificate.authority)
    known = ssl.create_default_context(cafile=certificate.authority)
    known.load_cert_chain(certificate.cert, certificate.key)

    with pytest.raises(httpx2.TransportError):
        httpx2.get(url, verify=anonymous)
    assert httpx2.get(url, verify=known).status_code == 200


def test_a_misspelt_variable_is_logged(samples: Any) -> None:
    sample = samples.start(DRAIN_DELAY_SECOND=3)

    warning = sample.wait_for_log("suspicious configuration", level="warning")

    assert "DRAIN_DELAY_SECONDS" in warning["problem"]


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_service_with_closed_output_serves_and_stops(samples: Any, stream: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    # No logging plugin, and a pipe without a reader.
    settings = samples.directory / "sample" / "settings.py"
    configuring = r"structlog.configure\(.*?sys.stdout\)\).*?getpid\(\)\)"
    settings.write_text(re.sub(configuring, "pass", settings.read_text(), flags=re.DOTALL))
    reader, writer = os.pipe()
    os.close(reader)
    sample = samples.start(PORT=port, popen={stream: writer})
    os.close(writer)

    def answers() -> bool:
        try:
            return httpx2.get(f"http://127.0.0.1:{port}/health/ready").status_code == 200
        except httpx2.TransportError:
            return False

    samples.wait_until(answers)

    assert sample.stop() == 0
