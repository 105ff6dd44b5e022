"""SIGHUP: reloaded settings, refused configurations, and changes that need a restart."""

import os
import pty
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest

from .sample import refused, reloaded


def greeting(sample: Any) -> dict[str, Any]:
    answer: dict[str, Any] = httpx2.get(f"{sample.url}/greeting", timeout=20).json()
    return answer


@pytest.mark.parametrize("workers", [1, 2])
def test_settings_given_by_file_are_reloaded(samples: Any, workers: int) -> None:
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


def test_metrics_continue_across_a_replacement(samples: Any) -> None:
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
    # Workers alternate between two slots: the number of files does not grow with replacements.
    (directory,) = samples.tmp.iterdir()
    assert {file.stem.rpartition("_")[2] for file in (directory / "metrics").iterdir()} == {"0", "1", "main"}


def test_an_invalid_file_is_refused_with_the_error_text_of_the_startup(samples: Any) -> None:
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


def test_a_restarted_worker_uses_the_checked_configuration(samples: Any) -> None:
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


def test_a_configuration_that_workers_cannot_start_with_is_discarded(samples: Any) -> None:
    file = samples.directory / "fails"
    file.write_text("nothing")
    sample = samples.ready(WORKERS=2, SAMPLE_FAILS_FILE=file)
    before = {line["process"] for line in sample.logs if line["message"] == "process started"}

    file.write_text("lifespan")
    sample.signal(signal.SIGHUP)
    line = sample.wait_for_log("worker not replaced: replacement did not become ready")

    assert line["index"] == 0
    assert greeting(sample)["pid"] in before
    # The other worker is not replaced.
    assert sample.messages.count("worker died") == 1
    # A restarted worker uses the active configuration.
    os.kill(greeting(sample)["pid"], signal.SIGKILL)
    sample.wait_for_log("worker died", count=2)
    assert greeting(sample)["greeting"] == "hello"
    file.write_text("nothing")
    reloaded(sample)
    assert sample.stop() == 0


def test_changes_that_need_a_restart_are_logged_and_not_applied(samples: Any) -> None:
    files = {name: samples.directory / name for name in ("PORT", "WORKERS", "SAMPLE_GREETING")}
    for name, text in (("PORT", "0"), ("WORKERS", "1"), ("SAMPLE_GREETING", "hello")):
        files[name].write_text(text)
    given = {f"{name}_FILE": path for name, path in files.items()}
    sample = samples.ready(PORT="", **given)

    files["PORT"].write_text("4321")
    files["WORKERS"].write_text("3")
    files["SAMPLE_GREETING"].write_text("good evening")
    reloaded(sample)

    line = sample.wait_for_log("changes not applied: restart required", level="warning")
    assert line["variables"] == ["PORT", "WORKERS"]
    assert greeting(sample)["greeting"] == "good evening"
    assert len(samples.processes()) == 2


def test_the_service_stays_ready_during_a_reload(samples: Any) -> None:
    sample = samples.ready(DRAIN_DELAY_SECONDS=1)
    sample.signal(signal.SIGHUP)

    while "workers replaced" not in sample.messages:
        assert httpx2.get(f"{sample.url}/health/ready", timeout=20).status_code == 200
        assert httpx2.get(f"{sample.admin}/ready", timeout=20).status_code == 200


def test_a_stop_signal_during_a_rolling_restart_stops_the_service(samples: Any) -> None:
    sample = samples.ready(WORKERS=2)
    sample.signal(signal.SIGHUP)
    sample.wait_for_log("worker replaced")

    assert sample.stop() == 0

    assert "worker died" not in sample.messages
    assert "shutdown complete" in sample.messages


def test_a_sighup_during_startup_is_handled_after_startup(samples: Any) -> None:
    file = samples.directory / "greeting"
    file.write_text("hello")
    sample = samples.start(SAMPLE_GREETING_FILE=file)
    sample.wait_for_log("admin port opened")
    file.write_text("good evening")

    reloaded(sample)

    assert greeting(sample)["greeting"] == "good evening"
    assert "received SIGHUP" in sample.messages


def test_closing_the_terminal_stops_the_service(samples: Any) -> None:
    leader, follower = pty.openpty()
    # Make the terminal the controlling terminal of the new session.
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


def test_a_replaced_worker_gives_requests_more_time_than_a_shutdown(samples: Any) -> None:
    sample = samples.ready(SHUTDOWN_GRACE_SECONDS=0.2)
    with ThreadPoolExecutor() as pool:
        slow = pool.submit(httpx2.get, f"{sample.url}/slow/4.0", timeout=20)
        sample.wait_for_log("slow began")
        reloaded(sample)

        assert slow.result().status_code == 200

    assert "requests cancelled" not in sample.messages


def test_a_replaced_worker_obeys_the_deadline_of_a_later_shutdown(samples: Any) -> None:
    sample = samples.ready(SHUTDOWN_GRACE_SECONDS=0.5, SHUTDOWN_FLUSH_SECONDS=0.5)
    with ThreadPoolExecutor() as pool:
        slow = pool.submit(httpx2.get, f"{sample.url}/slow/60.0", timeout=20)
        sample.wait_for_log("slow began")
        sample.signal(signal.SIGHUP)
        sample.wait_for_log("worker replaced")

        sample.signal(signal.SIGTERM)

        assert slow.result().status_code == 503
    assert sample.wait() == 0


def test_event_streams_of_a_replaced_worker_end_cleanly(samples: Any) -> None:
    sample = samples.ready()
    with httpx2.stream("GET", f"{sample.url}/events", timeout=20) as stream:
        parts = stream.iter_text()
        assert "hello" in next(parts)
        reloaded(sample)

        # An aborted connection would raise.
        end = 'event: end\r\ndata: {"code":1012,"reason":"service restart"}\r\n\r\n'
        assert "".join(parts) == end
