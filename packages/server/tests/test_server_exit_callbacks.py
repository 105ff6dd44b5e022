"""Callbacks of `atexit`, which run although no thread is waited for."""

import signal
from typing import Any

import pytest

REGISTER = """
import atexit, pathlib
def start_process(*, role, _before=start_process, **process):
    _before(role=role, **process)
    atexit.register({callback})
"""
WRITE = 'lambda: pathlib.Path(f"exited-{role}").write_text(str(os.getpid()))'


def register(samples: Any, callback: str) -> None:
    """Have the main process and each worker register a callback."""
    settings = samples.directory / "sample" / "settings.py"
    settings.write_text(settings.read_text() + REGISTER.format(callback=callback))


def exited(samples: Any) -> dict[str, int]:
    """Return the process ids that the callbacks wrote, by role."""
    paths = samples.directory.glob("exited-*")
    return {path.name.removeprefix("exited-"): int(path.read_text()) for path in paths}


def test_callbacks_run_in_the_main_process_and_in_workers(samples: Any) -> None:
    register(samples, WRITE)
    sample = samples.ready()
    started = [line for line in sample.logs if line["message"] == "process started"]

    assert sample.stop() == 0

    assert exited(samples) == {line["role"]: line["process"] for line in started}


def test_a_callback_that_hangs_does_not_exceed_the_time_for_the_flush(samples: Any) -> None:
    register(samples, "time.sleep, 3600")
    sample = samples.ready(SHUTDOWN_FLUSH_SECONDS=0.5, SHUTDOWN_GRACE_SECONDS=0.5)

    assert sample.stop() == 0

    # In the worker and in the main process; no worker was killed for it.
    assert sample.output.count("callbacks of `atexit` were cut off after") == 2
    assert "worker killed: it did not stop in time" not in sample.messages


def test_a_callback_that_fails_changes_neither_the_exit_code_nor_the_others(samples: Any) -> None:
    register(samples, WRITE)
    register(samples, "lambda: 1 / 0")
    sample = samples.ready()

    assert sample.stop() == 0

    assert exited(samples).keys() == {"main", "worker"}
    assert "ZeroDivisionError" in sample.output


@pytest.mark.parametrize(("fails", "code"), [("migrate", 65), ("import", 1)])
def test_callbacks_run_after_a_failed_start(samples: Any, fails: str, code: int) -> None:
    register(samples, WRITE)

    sample = samples.finished(SAMPLE_FAILS=fails)

    assert sample.process.returncode == code
    assert "main" in exited(samples)


def test_callbacks_run_when_the_startup_is_stopped(samples: Any) -> None:
    register(samples, WRITE)
    sample = samples.start(SAMPLE_FAILS="migrate hangs")
    sample.wait_for_log("migrating")

    assert sample.stop() == 0

    assert "main" in exited(samples)


def test_an_immediate_exit_skips_callbacks(samples: Any) -> None:
    register(samples, WRITE)
    sample = samples.ready()

    sample.signal(signal.SIGQUIT)

    assert sample.wait(timeout_s=5) == 130
    assert exited(samples) == {}


def test_worker_callbacks_run_when_the_main_process_is_killed(samples: Any) -> None:
    register(samples, WRITE)
    sample = samples.ready()

    sample.process.kill()

    sample.wait()
    samples.wait_until(lambda: not samples.processes())
    assert exited(samples).keys() == {"worker"}
