"""Workers that use too much memory: replaced at their own limit, killed by the kernel at its limit."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from ...support.report import report
from .sample_service import REQUESTS, sampling, start_load, wait_until

pytestmark = pytest.mark.alone

MIB = 1024 * 1024


class ControlGroup:
    """A control group with a memory limit."""

    def __init__(self, path: Path, *, is_unified: bool, limit_bytes: int) -> None:
        self.path = path
        path.mkdir()
        if is_unified:
            (path / "memory.max").write_text(str(limit_bytes))
            if (path / "memory.swap.max").exists():
                (path / "memory.swap.max").write_text("0")
        else:
            (path / "memory.limit_in_bytes").write_text(str(limit_bytes))

    def enter(self) -> None:
        (self.path / "cgroup.procs").write_text(str(os.getpid()))


@contextmanager
def limited_to(limit_bytes: int) -> Iterator[ControlGroup]:
    """Create a control group at the top of the tree, which requires root."""
    top = Path("/sys/fs/cgroup")
    is_unified = (top / "cgroup.controllers").exists()
    path = (top if is_unified else top / "memory") / f"starkeel-drill-{os.getpid()}"
    try:
        group = ControlGroup(path, is_unified=is_unified, limit_bytes=limit_bytes)
    except OSError as error:
        pytest.fail(f"cannot create a control group with a memory limit, which requires root: {error}")
    try:
        yield group
    finally:
        wait_until(lambda: not (path / "cgroup.procs").read_text(), what="the group is empty")
        path.rmdir()


def fill(url: str) -> None:
    """Make one worker allocate memory in steps until it is killed."""
    with httpx2.Client(base_url=url, timeout=20) as kept:
        try:
            while True:
                kept.get("/hold/50")
        except httpx2.TransportError:
            return


def test_a_worker_over_its_limit_is_replaced_and_no_request_fails(tmp_path: Path, capsys: Any) -> None:
    with sampling(tmp_path) as samples:
        sample = samples.ready(DRAIN_DELAY_SECONDS=1, WORKER_MAX_RSS_BYTES=400 * MIB)
        load = start_load(sample.url)
        load.wait_for_responses(REQUESTS // 2)

        held = httpx2.get(f"{sample.url}/hold/500", timeout=20).json()["pid"]

        logged = sample.wait_for_log(
            "worker exceeded the memory limit and is being replaced", level="warning"
        )
        sample.wait_for_log("worker replaced", reason="memory")
        wait_until(lambda: not Path(f"/proc/{held}").exists(), what="the old worker is gone")
        load.wait_for_responses(REQUESTS // 2)
        load.finish()
        report(capsys, "WORKER_MAX_RSS_BYTES", load.summary, rss_mib=logged["rss_bytes"] // MIB)
        assert load.failures == []
        assert logged["worker_pid"] == held
        assert logged["rss_bytes"] > logged["limit"] == 400 * MIB
        page = httpx2.get(f"{sample.admin}/metrics").text
        assert 'starkeel_worker_replacements_total{reason="memory"} 1.0' in page
        assert sample.messages.count("worker replaced") == 1
        assert sample.stop() == 0


def test_a_limit_below_the_initial_memory_is_logged_and_replaces_nothing(tmp_path: Path) -> None:
    with sampling(tmp_path) as samples:
        sample = samples.ready(WORKER_MAX_RSS_BYTES=MIB)

        sample.wait_for_log("WORKER_MAX_RSS_BYTES is below what a worker needs to start", level="error")

        assert sample.stop() == 0
        assert "worker replaced" not in sample.messages


def test_a_worker_killed_by_the_kernel_for_its_memory_is_reported_as_such(
    tmp_path: Path, capsys: Any
) -> None:
    with limited_to(400 * MIB) as group, sampling(tmp_path) as samples:
        sample = samples.start(WORKERS=2, popen={"preexec_fn": group.enter}).wait_until_ready()
        load = start_load(sample.url, ready=None)
        load.wait_for_responses(REQUESTS // 2)

        fill(sample.url)
        logged = sample.wait_for_log("worker killed by the kernel: out of memory", level="error")

        sample.wait_for_log("process started", role="worker", count=3)
        load.wait_for_responses(REQUESTS // 2)
        load.finish()
        report(
            capsys,
            f"OOM kill of worker {logged['worker_pid']}",
            load.summary,
            *(f"{failure.kind} {failure.path} ({failure.reason})" for failure in load.failures),
            last_rss_mib=logged["rss_bytes"] // MIB,
        )
        # Requests in flight in the killed worker: at most one per client.
        assert len(load.failures) <= 11
        assert not any(failure.reason.isdigit() for failure in load.failures)
        assert (logged["signal"], logged["exit_code"], logged["oom_kills"]) == ("SIGKILL", -signal.SIGKILL, 1)
        assert logged["rss_bytes"] > 30 * MIB
        assert 'starkeel_worker_exits_total{reason="oom"} 1.0' in httpx2.get(f"{sample.admin}/metrics").text
        assert "worker died" not in sample.messages
        assert sample.stop() == 0
