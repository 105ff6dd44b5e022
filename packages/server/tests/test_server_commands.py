"""Command line."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread
from typing import Any

import pytest


def test_config_prints_settings_with_sources_and_without_secrets(samples: Any) -> None:
    done = samples.finished("config", SAMPLE_PASSWORD="swordfish")

    assert done.process.returncode == 0
    lines = {line.partition("=")[0]: line.split() for line in done.lines}
    assert lines["PORT"] == ["PORT=0", "#", "environment"]
    assert lines["WORKERS"] == ["WORKERS=1", "#", "default"]
    assert lines["SAMPLE_PASSWORD"] == ["SAMPLE_PASSWORD=***", "#", "environment"]
    assert "swordfish" not in done.output


@pytest.mark.parametrize("command", ["config", "openapi"])
def test_a_command_ends_quietly_when_its_reader_ends(samples: Any, command: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)

    done = samples.start(command, popen={"stdout": writer})

    # As by SIGPIPE.
    assert done.wait() == 141
    assert done.errors == []
    os.close(writer)


def test_a_command_without_stdout_ends_quietly(samples: Any) -> None:
    done = samples.start("config", popen={"preexec_fn": lambda: os.close(1)})

    assert done.wait() == 0
    assert done.errors == []


def test_config_reports_every_problem(samples: Any) -> None:
    done = samples.finished("config", PORT="x", WORKERS="0")

    assert done.process.returncode == 78
    assert done.lines == []
    assert "has 2 problems" in done.output


def test_openapi_needs_no_configuration_and_is_the_same_each_time(samples: Any) -> None:
    first = samples.finished("openapi", PORT="nonsense")
    second = samples.finished("openapi")

    assert first.process.returncode == 0
    assert first.lines == second.lines
    document = json.loads("".join(first.lines))
    assert "/pid" in document["paths"]
    assert not any(path.startswith("/health") for path in document["paths"])


def test_migrate_migrates_and_exits(samples: Any) -> None:
    done = samples.finished("migrate")

    assert done.process.returncode == 0
    assert done.wait_for_log("migrations complete")["applied"] == 3
    assert "listening" not in done.messages
    assert done.messages[-1] == "process stopped"


@pytest.mark.parametrize(("fails", "code"), [("connect", 69), ("migrate", 65)])
def test_migrate_fails_with_the_exit_codes_of_serve(samples: Any, fails: str, code: int) -> None:
    done = samples.finished("migrate", SAMPLE_FAILS=fails)

    assert done.process.returncode == code
    assert "Traceback" not in done.output


def test_revision_prints_the_written_files(samples: Any) -> None:
    done = samples.finished("revision", "add a table")

    assert done.process.returncode == 0
    assert done.lines[-2] == "versions/add a table.py\n"


def test_an_unknown_command_is_wrong_usage(samples: Any) -> None:
    done = samples.finished("destroy")

    assert done.process.returncode == 2
    assert "sample has no command 'destroy'; there are serve, worker, config" in done.output


def test_help_lists_every_command(samples: Any) -> None:
    done = samples.finished("--help")

    assert done.process.returncode == 0
    for verb in (
        "serve",
        "config",
        "migrate",
        "revision",
        "backup",
        "restore",
        "openapi",
        "asyncapi",
        "health",
    ):
        assert f"\n    {verb} " in done.output


def ports_of(sample: Any) -> dict[str, str]:
    return {"PORT": sample.url.rpartition(":")[2], "METRICS_PORT": sample.admin.rpartition(":")[2]}


def test_health_follows_the_service(samples: Any) -> None:
    flag = samples.directory / "database-is-away"
    sample = samples.ready(SAMPLE_FLAG=flag)
    ports = ports_of(sample)

    alive = samples.finished("health", **ports)
    assert (alive.process.returncode, alive.output) == (0, '{"status":"live"}\n')
    assert samples.finished("health", "--ready", **ports).process.returncode == 0

    flag.touch()
    samples.wait_until(lambda: samples.finished("health", "--ready", **ports).process.returncode == 1)
    assert samples.finished("health", **ports).process.returncode == 0

    sample.stop()
    gone = samples.finished("health", **ports)
    assert gone.process.returncode == 1
    assert "sample does not answer" in gone.output


NOT_HTTP = "sample does not answer: the response is not HTTP\n"


@pytest.mark.parametrize(
    ("response", "problem"),
    [
        (b"SSH-2.0 200 OK\r\n", NOT_HTTP),
        (b"220 200 OK\r\n", NOT_HTTP),
        (b"HTTP/1.1\r\n", NOT_HTTP),
        (b"x" * 10_000_000, NOT_HTTP),
        (b"", NOT_HTTP),
        (b"HTTP/1.1 200 OK\r\n\r\nlive", "sample does not answer: another process has the admin port\n"),
        (b"HTTP/1.1 200 OK\r\n\r\n[]", "sample does not answer: another process has the admin port\n"),
    ],
)
def test_another_server_on_the_admin_port_is_not_the_service(
    samples: Any, response: bytes, problem: str
) -> None:
    with answering(response) as port:
        done = samples.finished("health", METRICS_PORT=port)

    assert (done.process.returncode, done.output) == (1, problem)


def test_another_server_on_the_port_is_not_the_service(samples: Any) -> None:
    ports = ports_of(samples.ready())
    with answering(b"220 200 OK\r\n") as port:
        done = samples.finished("health", **ports | {"PORT": port})

    assert (done.process.returncode, done.output) == (1, NOT_HTTP)


@contextmanager
def answering(response: bytes) -> Iterator[int]:
    """Answer one connection with these bytes on the port."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def respond() -> None:
            connection, _ = server.accept()
            with connection, suppress(OSError):
                connection.recv(65_536)
                connection.sendall(response)

        Thread(target=respond, daemon=True).start()
        yield server.getsockname()[1]


def test_health_uses_the_admin_port_if_clients_need_a_certificate(samples: Any, certificate: Any) -> None:
    tls = {
        "TLS_CERT_FILE": certificate.cert,
        "TLS_KEY_FILE": certificate.key,
        "TLS_CLIENT_CA_FILE": certificate.authority,
    }
    sample = samples.start(**tls)
    sample.wait_for_log("workers started")
    ports = ports_of(sample)

    samples.wait_until(lambda: samples.finished("health", "--ready", **tls, **ports).process.returncode == 0)


def test_health_supports_tls(samples: Any, certificate: Any) -> None:
    tls = {"TLS_CERT_FILE": certificate.cert, "TLS_KEY_FILE": certificate.key}
    sample = samples.start(**tls)
    sample.wait_for_log("workers started")

    alive = samples.finished("health", **ports_of(sample), **tls)

    assert (alive.process.returncode, alive.output) == (0, '{"status":"live"}\n')


def test_health_imports_no_framework(samples: Any) -> None:
    code = (
        # Modules imported by msgspec itself do not count.
        "import msgspec, runpy, sys; sys.argv = ['sample', 'health']; before = set(sys.modules)\n"
        "try: runpy.run_module('sample', run_name='__main__')\n"
        "except SystemExit: pass\n"
        "heavy = 'litestar granian uvloop structlog prometheus_client asyncio subprocess ssl dataclasses'\n"
        "print(*sorted(set(heavy.split()) & (set(sys.modules) - before)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=samples.directory,
        env=samples.environ(),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert done.stdout.split() == []


def test_commands_leave_no_files(samples: Any) -> None:
    samples.finished("migrate")
    samples.finished("openapi")

    assert list(Path(samples.tmp).iterdir()) == []
