"""Removal of runtime directories left by killed processes."""

import os
import signal
from typing import Any

import httpx2
from websockets.sync.client import connect


def test_directories_of_killed_processes_are_removed_and_others_kept(samples: Any) -> None:
    running = samples.ready()
    (ours,) = samples.tmp.iterdir()
    killed = samples.ready()
    killed.signal(signal.SIGKILL)
    killed.wait()
    # Its worker ends by itself.
    samples.wait_until(lambda: len(samples.processes()) == 2)
    (left,) = set(samples.tmp.iterdir()) - {ours}
    foreign = samples.tmp / "starkeel-sample-notes"
    foreign.mkdir()

    fresh = samples.ready()

    assert not left.exists()
    assert foreign.is_dir()
    assert len(list(samples.tmp.iterdir())) == 3
    assert httpx2.get(f"{running.url}/pid").status_code == 200
    assert fresh.stop() == running.stop() == 0
    assert list(samples.tmp.iterdir()) == [foreign]


def test_a_directory_is_kept_while_a_worker_runs(samples: Any) -> None:
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
