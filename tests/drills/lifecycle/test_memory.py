"""Workers that take too much memory: replaced at a limit of ours, killed by the kernel at its own."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from ...support.load import Load
from .sample_service import REQUESTS, port_of, report, sampling, wait_until

MIB = 1024 * 1024


class Group:
    """A control group with a limit of memory."""

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
def limited_to(limit_bytes: int) -> Iterator[Group]:
    """A control group of our own, at the top of the tree; that takes root, as CI's containers have it."""
    top = Path("/sys/fs/cgroup")
    is_unified = (top / "cgroup.controllers").exists()
    path = (top if is_unified else top / "memory") / f"starkeel-drill-{os.getpid()}"
    try:
        group = Group(path, is_unified=is_unified, limit_bytes=limit_bytes)
    except OSError as error:
        pytest.fail(f"no control group with a limit of memory can be made here, as root may: {error}")
    try:
        yield group
    finally:
        wait_until(lambda: not (path / "cgroup.procs").read_text(), what="the group is empty")
        path.rmdir()


def fill(url: str) -> None:
    """Have one worker take ever more, in steps, until it is gone."""
    with httpx2.Client(base_url=url, timeout=20) as kept:
        try:
            while True:
                kept.get("/hold/50")
        except httpx2.TransportError:
            return


def test_a_worker_over_its_limit_is_replaced_and_fails_no_request(tmp_path: Path, capsys: Any) -> None:
    with sampling(tmp_path) as samples:
        sample = samples.ready(DRAIN_DELAY_SECONDS=1, WORKER_MAX_RSS_BYTES=400 * MIB)
        load = Load(port_of(sample.url)).start()
        load.wait_for_answers(REQUESTS // 2)

        held = httpx2.get(f"{sample.url}/hold/500", timeout=20).json()["pid"]

        told = sample.wait_for_log("worker exceeded the memory limit and is being replaced", level="warning")
        sample.wait_for_log("worker replaced", reason="memory")
        wait_until(lambda: not Path(f"/proc/{held}").exists(), what="the old worker is gone")
        load.wait_for_answers(REQUESTS // 2)
        load.finish()
        report(capsys, "WORKER_MAX_RSS_BYTES", load, f"rss {told['rss_bytes'] // MIB} MiB")
        assert load.failures == []
        assert told["worker_pid"] == held
        assert told["rss_bytes"] > told["limit"] == 400 * MIB
        page = httpx2.get(f"{sample.admin}/metrics").text
        assert 'starkeel_worker_replacements_total{reason="memory"} 1.0' in page
        assert sample.messages.count("worker replaced") == 1
        assert sample.stop() == 0


def test_a_limit_below_what_a_worker_needs_is_told_and_replaces_nothing(tmp_path: Path) -> None:
    with sampling(tmp_path) as samples:
        sample = samples.ready(WORKER_MAX_RSS_BYTES=MIB)

        sample.wait_for_log("WORKER_MAX_RSS_BYTES is below what a worker needs to start", level="error")

        assert sample.stop() == 0
        assert "worker replaced" not in sample.messages


def test_a_worker_that_the_kernel_killed_for_memory_is_named_so(tmp_path: Path, capsys: Any) -> None:
    with limited_to(400 * MIB) as group, sampling(tmp_path) as samples:
        sample = samples.start(WORKERS=2, popen={"preexec_fn": group.enter}).wait_until_ready()
        load = Load(port_of(sample.url), ready=None).start()
        load.wait_for_answers(REQUESTS // 2)

        fill(sample.url)
        told = sample.wait_for_log("worker killed by the kernel: out of memory", level="error")

        sample.wait_for_log("process started", role="worker", count=3)
        load.wait_for_answers(REQUESTS // 2)
        load.finish()
        report(
            capsys,
            f"OOM kill of worker {told['worker_pid']}",
            load,
            f"last seen with {told['rss_bytes'] // MIB} MiB",
            *(f"{failure.kind} {failure.path} ({failure.why})" for failure in load.failures),
        )
        # Those in flight inside the worker that was killed: one for each client at most.
        assert len(load.failures) <= 11
        assert not any(failure.why.isdigit() for failure in load.failures)
        assert (told["signal"], told["exit_code"], told["oom_kills"]) == ("SIGKILL", -signal.SIGKILL, 1)
        assert told["rss_bytes"] > 30 * MIB
        assert 'starkeel_worker_exits_total{reason="oom"} 1.0' in httpx2.get(f"{sample.admin}/metrics").text
        assert "worker died" not in sample.messages
        assert sample.stop() == 0
