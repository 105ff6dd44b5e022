"""However a run ends, no process and no directory is left."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from starkeel_testing import wait_until

HOLD = """
from pathlib import Path
from threading import Event
from starkeel_testing import running

def test_hold(postgres_url, redis_url, otlp):
    with running("sample") as service:
        Path("is-holding").touch()
        Event().wait(100)
"""


@pytest.fixture
def holding_run(runs: Any, sample_env: dict[str, str]) -> Any:
    """Start a run that has started a service and all servers."""

    def start(*arguments: str) -> Any:
        inner = HOLD.replace('running("sample")', f'running("sample", {sample_env!r})')
        process = runs.start(inner, *arguments, env={"STARKEEL_TEST_SERVERS": "wheels"})

        def is_holding() -> bool:
            assert process.poll() is None, process.stdout.read()
            return Path(runs.directory / "is-holding").exists()

        wait_until(is_holding, timeout_s=60)
        return process

    return start


@pytest.mark.parametrize("arguments", [(), ("-n", "1")], ids=["one process", "xdist"])
def test_ctrl_c_leaves_nothing(runs: Any, holding_run: Any, arguments: tuple[str, ...]) -> None:
    process = holding_run(*arguments)

    os.killpg(process.pid, signal.SIGINT)  # what a terminal does

    output, _ = process.communicate(timeout=60)
    assert process.returncode == 2, output
    runs.wait_until_nothing_is_left()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("arguments", [(), ("-n", "1")], ids=["one process", "xdist"])
def test_a_killed_run_leaves_nothing(
    runs: Any, holding_run: Any, arguments: tuple[str, ...], number: signal.Signals
) -> None:
    process = holding_run(*arguments)

    process.send_signal(number)

    process.communicate(timeout=60)
    assert process.returncode != 0
    runs.wait_until_nothing_is_left()


def test_a_timeout_leaves_nothing(runs: Any, holding_run: Any) -> None:
    process = holding_run("-o", "timeout=20", "-o", "timeout_method=thread")

    process.communicate(timeout=60)

    assert process.returncode != 0
    runs.wait_until_nothing_is_left()
