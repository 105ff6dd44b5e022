"""SIGHUP: what is read anew, what is refused, and what needs a restart."""

import os
import pty
import signal
import socket
import ssl
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest
from cryptography import x509

from .sample import wait_until


def greeting(sample: Any) -> dict[str, Any]:
    answer: dict[str, Any] = httpx2.get(f"{sample.url}/greeting", timeout=20).json()
    return answer


def reloaded(sample: Any, *, count: int = 1) -> None:
    sample.signal(signal.SIGHUP)
    sample.wait_for_log("workers replaced", count=count)


def refused(sample: Any) -> str:
    sample.signal(signal.SIGHUP)
    reason: str = sample.wait_for_log("configuration refused: workers go on with the one they have")["reason"]
    return reason


@pytest.mark.parametrize("workers", [1, 2])
def test_settings_given_by_file_are_read_anew(samples: Any, workers: int) -> None:
    file = samples.directory / "greeting"
    file.write_text("hello\n")
    sample = samples.ready(WORKERS=workers, SAMPLE_GREETING_FILE=file)
    before = greeting(sample)
    assert before["greeting"] == "hello"

    file.write_text("good evening\n")
    reloaded(sample)

    after = greeting(sample)
    assert after["greeting"] == "good evening"
    assert after["pid"] != before["pid"]
    assert sample.messages.count("worker replaced") == workers
    assert httpx2.get(f"{sample.admin}/ready").json()["workers"] == [
        {"index": index, "status": "ready"} for index in range(workers)
    ]
    assert len(samples.processes()) == workers + 1
    assert sample.stop() == 0


def test_metrics_go_on_across_a_replacement(samples: Any) -> None:
    sample = samples.ready()
    for _ in range(10):
        httpx2.get(f"{sample.url}/pid")

    for count in (1, 2, 3):
        reloaded(sample, count=count)
        httpx2.get(f"{sample.url}/pid")

    page = httpx2.get(f"{sample.admin}/metrics").text
    assert "sample_hits_total 13.0" in page
    assert "sample_alive 1.0" in page
    assert 'starkeel_worker_replacements_total{reason="reload"} 3.0' in page
    # Workers take turns at two places: files do not grow in number with every replacement.
    (directory,) = samples.tmp.iterdir()
    assert {file.stem.rpartition("_")[2] for file in (directory / "metrics").iterdir()} == {"0", "1", "main"}


def test_a_wrong_file_is_refused_with_the_text_of_the_start(samples: Any) -> None:
    file = samples.directory / "password"
    file.write_text("correct horse")
    sample = samples.ready(SAMPLE_PASSWORD="", SAMPLE_PASSWORD_FILE=file)
    pid = greeting(sample)["pid"]

    file.write_text("changeme")
    reason = refused(sample)

    assert greeting(sample)["pid"] == pid
    at_start = samples.finished(SAMPLE_PASSWORD="", SAMPLE_PASSWORD_FILE=file)
    assert at_start.process.returncode == 78
    assert "".join(at_start.errors) == f"{reason}\n"


def test_a_worker_that_crashes_later_starts_with_what_was_checked(samples: Any) -> None:
    file = samples.directory / "password"
    file.write_text("correct horse")
    sample = samples.ready(SAMPLE_PASSWORD="", SAMPLE_PASSWORD_FILE=file)
    pid = greeting(sample)["pid"]
    file.unlink()
    assert "SAMPLE_PASSWORD_FILE" in refused(sample)

    os.kill(pid, signal.SIGKILL)

    sample.wait_for_log("worker died")
    assert greeting(sample)["pid"] != pid
    assert sample.messages.count("worker died") == 1


def test_a_configuration_that_workers_do_not_come_up_with_is_given_up(samples: Any) -> None:
    file = samples.directory / "fails"
    file.write_text("nothing")
    sample = samples.ready(WORKERS=2, SAMPLE_FAILS_FILE=file)
    before = {line["process"] for line in sample.logs if line["message"] == "process started"}

    file.write_text("lifespan")
    sample.signal(signal.SIGHUP)
    told = sample.wait_for_log("worker not replaced: the new one did not become ready")

    assert told["index"] == 0
    assert greeting(sample)["pid"] in before
    # Once: the other worker is left alone.
    assert sample.messages.count("worker died") == 1
    # What a crashed worker's successor gets is what has proved itself.
    os.kill(greeting(sample)["pid"], signal.SIGKILL)
    sample.wait_for_log("worker died", count=2)
    assert greeting(sample)["greeting"] == "hello"
    file.write_text("nothing")
    reloaded(sample)
    assert sample.stop() == 0


def test_what_needs_a_restart_is_named_and_not_applied(samples: Any) -> None:
    files = {name: samples.directory / name for name in ("PORT", "WORKERS", "SAMPLE_GREETING")}
    for name, text in (("PORT", "0"), ("WORKERS", "1"), ("SAMPLE_GREETING", "hello")):
        files[name].write_text(text)
    given = {f"{name}_FILE": path for name, path in files.items()}
    sample = samples.ready(PORT="", **given)

    files["PORT"].write_text("4321")
    files["WORKERS"].write_text("3")
    files["SAMPLE_GREETING"].write_text("good evening")
    reloaded(sample)

    told = sample.wait_for_log("a change needs a restart and was not applied", level="warning")
    assert told["variables"] == ["PORT", "WORKERS"]
    assert greeting(sample)["greeting"] == "good evening"
    assert len(samples.processes()) == 2


def test_a_certificate_is_read_anew(samples: Any, certificate: Any, later_certificate: Any) -> None:
    paths = {name: samples.directory / f"{name}.pem" for name in ("cert", "key")}
    copy(certificate, paths)
    # The one of a chain that expires first is what matters.
    with paths["cert"].open("ab") as chain:
        chain.write(later_certificate.authority.read_bytes())
    sample = samples.start(TLS_CERT_FILE=paths["cert"], TLS_KEY_FILE=paths["key"])
    sample.wait_for_log("workers started")
    address = ("127.0.0.1", int(sample.url.rpartition(":")[2]))
    assert served(address) == ssl.PEM_cert_to_DER_cert(certificate.cert.read_text())
    assert told_expiry(sample) == expiry(certificate)

    copy(later_certificate, paths)
    reloaded(sample)

    assert served(address) == ssl.PEM_cert_to_DER_cert(later_certificate.cert.read_text())
    wait_until(lambda: told_expiry(sample) == expiry(later_certificate), timeout_s=20, what="its expiry told")


def test_a_certificate_without_its_key_is_refused(
    samples: Any, certificate: Any, other_certificate: Any
) -> None:
    paths = {name: samples.directory / f"{name}.pem" for name in ("cert", "key")}
    copy(certificate, paths)
    sample = samples.start(TLS_CERT_FILE=paths["cert"], TLS_KEY_FILE=paths["key"])
    sample.wait_for_log("workers started")
    address = ("127.0.0.1", int(sample.url.rpartition(":")[2]))

    paths["key"].write_bytes(other_certificate.key.read_bytes())

    assert "does not go with TLS_CERT_FILE" in refused(sample)
    assert served(address) == ssl.PEM_cert_to_DER_cert(certificate.cert.read_text())


def expiry(certificate: Any) -> float:
    read = x509.load_pem_x509_certificate(certificate.cert.read_bytes())
    return read.not_valid_after_utc.timestamp()


def told_expiry(sample: Any) -> float:
    page = httpx2.get(f"{sample.admin}/metrics", timeout=20).text
    (line,) = [one for one in page.splitlines() if one.startswith("starkeel_certificate_not_after")]
    return float(line.rpartition(" ")[2])


def copy(certificate: Any, paths: dict[str, Path]) -> None:
    paths["cert"].write_bytes(certificate.cert.read_bytes())
    paths["key"].write_bytes(certificate.key.read_bytes())


def served(address: tuple[str, int]) -> bytes:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with socket.create_connection(address, timeout=20) as plain, context.wrap_socket(plain) as secured:
        found = secured.getpeercert(binary_form=True)
    assert found is not None
    return found


def test_a_service_that_reloads_stays_ready(samples: Any) -> None:
    sample = samples.ready(DRAIN_DELAY_SECONDS=1)
    sample.signal(signal.SIGHUP)

    while "workers replaced" not in sample.messages:
        assert httpx2.get(f"{sample.url}/health/ready", timeout=20).status_code == 200
        assert httpx2.get(f"{sample.admin}/ready", timeout=20).status_code == 200


def test_a_stop_while_workers_are_replaced_is_honoured(samples: Any) -> None:
    sample = samples.ready(WORKERS=2)
    sample.signal(signal.SIGHUP)
    sample.wait_for_log("worker replaced")

    assert sample.stop() == 0

    assert "worker died" not in sample.messages
    assert "shutdown complete" in sample.messages


def test_a_sighup_before_the_workers_are_up_is_done_when_they_are(samples: Any) -> None:
    file = samples.directory / "greeting"
    file.write_text("hello")
    sample = samples.start(SAMPLE_GREETING_FILE=file)
    sample.wait_for_log("admin port opened")
    file.write_text("good evening")

    reloaded(sample)

    assert greeting(sample)["greeting"] == "good evening"
    assert "received SIGHUP" in sample.messages


def test_a_terminal_that_is_closed_stops_the_service(samples: Any) -> None:
    leader, follower = pty.openpty()
    # The terminal becomes that of the new session's first process, as a shell's is.
    code = (
        "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
        "os.execv(sys.executable, [sys.executable, '-m', 'sample'])"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        env=samples.environ(),
        cwd=samples.directory,
        stdin=follower,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        text=True,
    )
    os.close(follower)
    assert process.stdout is not None
    seen = [next(line for line in process.stdout if "workers started" in line)]

    os.close(leader)

    seen += list(process.stdout)
    process.stdout.close()
    assert process.wait(20) == 0
    assert "received SIGTERM" in "".join(seen) or "received SIGHUP" in "".join(seen)


def test_a_request_may_take_longer_than_a_shutdown_would_let_it(samples: Any) -> None:
    sample = samples.ready(SHUTDOWN_GRACE_SECONDS=0.2)
    with ThreadPoolExecutor() as pool:
        slow = pool.submit(httpx2.get, f"{sample.url}/slow/4.0", timeout=20)
        sample.wait_for_log("slow began")
        reloaded(sample)

        assert slow.result().status_code == 200

    assert "requests cancelled" not in sample.messages


def test_a_worker_that_leaves_keeps_to_the_time_of_a_shutdown_that_comes(samples: Any) -> None:
    sample = samples.ready(SHUTDOWN_GRACE_SECONDS=0.5, SHUTDOWN_FLUSH_SECONDS=0.5)
    with ThreadPoolExecutor() as pool:
        slow = pool.submit(httpx2.get, f"{sample.url}/slow/60.0", timeout=20)
        sample.wait_for_log("slow began")
        sample.signal(signal.SIGHUP)
        sample.wait_for_log("worker replaced")

        sample.signal(signal.SIGTERM)

        assert slow.result().status_code == 503
    assert sample.wait() == 0


def test_event_streams_of_a_worker_that_leaves_are_ended_cleanly(samples: Any) -> None:
    sample = samples.ready()
    with httpx2.stream("GET", f"{sample.url}/events", timeout=20) as stream:
        parts = stream.iter_text()
        assert "hello" in next(parts)
        reloaded(sample)

        # A connection that broke off would raise.
        assert list(parts) == []
