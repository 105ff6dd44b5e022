"""However a run ends, nothing of it is left: no process, no directory."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from starkeel_testing import wait_until

HELD = """
from pathlib import Path
from threading import Event
from starkeel_testing import running

def test_held(postgres_url, redis_url, otlp):
    with running("sample") as service:
        Path("is-held").touch()
        Event().wait(100)
"""


@pytest.fixture
def held(runs: Any, sample_env: dict[str, str]) -> Any:
    """Start a run that has a service and every server, and wait until it does."""

    def start(*arguments: str) -> Any:
        inner = HELD.replace('running("sample")', f'running("sample", {sample_env!r})')
        process = runs.start(inner, *arguments, env={"STARKEEL_TEST_SERVERS": "wheels"})

        def is_held() -> bool:
            assert process.poll() is None, process.stdout.read()
            return Path(runs.directory / "is-held").exists()

        wait_until(is_held, timeout_s=60)
        return process

    return start


@pytest.mark.parametrize("arguments", [(), ("-n", "1")], ids=["one process", "another"])
def test_ctrl_c_leaves_nothing(runs: Any, held: Any, arguments: tuple[str, ...]) -> None:
    process = held(*arguments)

    os.killpg(process.pid, signal.SIGINT)  # what a terminal does

    output, _ = process.communicate(timeout=60)
    assert process.returncode == 2, output
    runs.wait_until_nothing_is_left()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("arguments", [(), ("-n", "1")], ids=["one process", "another"])
def test_a_run_that_is_killed_leaves_nothing(
    runs: Any, held: Any, arguments: tuple[str, ...], number: signal.Signals
) -> None:
    process = held(*arguments)

    process.send_signal(number)

    process.communicate(timeout=60)
    assert process.returncode != 0
    runs.wait_until_nothing_is_left()


def test_a_test_that_takes_too_long_leaves_nothing(runs: Any, held: Any) -> None:
    process = held("-o", "timeout=20", "-o", "timeout_method=thread")

    process.communicate(timeout=60)

    assert process.returncode != 0
    runs.wait_until_nothing_is_left()
