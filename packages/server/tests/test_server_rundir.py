"""Directories of processes that were killed are removed by the next, and those in use are not."""

import os
import signal
from typing import Any

import httpx2
from websockets.sync.client import connect


def test_what_a_killed_process_left_is_removed_and_what_runs_is_left_alone(samples: Any) -> None:
    running = samples.ready()
    (ours,) = samples.tmp.iterdir()
    killed = samples.ready()
    killed.signal(signal.SIGKILL)
    killed.wait()
    # Its worker notices, and ends.
    samples.wait_until(lambda: len(samples.processes()) == 2)
    (left,) = set(samples.tmp.iterdir()) - {ours}
    somebodys = samples.tmp / "starkeel-sample-notes"
    somebodys.mkdir()

    fresh = samples.ready()

    assert not left.exists()
    assert somebodys.is_dir()
    assert len(list(samples.tmp.iterdir())) == 3
    assert httpx2.get(f"{running.url}/pid").status_code == 200
    assert fresh.stop() == running.stop() == 0
    assert list(samples.tmp.iterdir()) == [somebodys]


def test_a_directory_is_in_use_as_long_as_a_worker_is(samples: Any) -> None:
    killed = samples.ready(SHUTDOWN_GRACE_SECONDS=60)
    (used,) = samples.tmp.iterdir()
    with connect(f"{killed.url.replace('http', 'ws')}/live") as live:
        assert live.recv(timeout=10) == "hello"
        (worker,) = (pid for pid in samples.processes() if pid != killed.process.pid)
        os.kill(worker, signal.SIGSTOP)
        killed.signal(signal.SIGKILL)
        killed.process.wait(10)
        try:
            assert samples.ready().stop() == 0
            assert used.is_dir()
        finally:
            os.kill(worker, signal.SIGKILL)
    samples.wait_until(lambda: not samples.processes())
    assert samples.ready().stop() == 0
    assert not used.exists()
