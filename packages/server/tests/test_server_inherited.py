"""Properties inherited from a parent process: signals, limits, directories; and the duties of PID 1."""

import ctypes
import os
import resource
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

_LIBC = ctypes.CDLL(None)
_PR_CAPBSET_DROP = 24
_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH = 1, 2


def blocked() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())


def ignored() -> None:
    for number in (
        signal.SIGCHLD,
        signal.SIGINT,
        signal.SIGHUP,
        signal.SIGQUIT,
        signal.SIGTERM,
        signal.SIGPIPE,
    ):
        signal.signal(number, signal.SIG_IGN)


def without_access() -> None:
    """Have root respect permissions, as other users do."""
    for capability in (_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH):
        _LIBC.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)


def strict_umask() -> None:
    os.umask(0o777)
    without_access()


def open_umask() -> None:
    os.umask(0)


def foreign_directory() -> None:
    directory = tempfile.mkdtemp()
    os.chown(directory, 12345, 12345)
    os.chdir(directory)
    os.environ["HOME"] = directory
    without_access()


def few_files() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (20, 4096))


def small_limits() -> None:
    os.nice(5)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_STACK, (1024 * 1024, 1024 * 1024))
    resource.setrlimit(resource.RLIMIT_AS, (2 * 1024**3, 2 * 1024**3))
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024 * 1024, 1024 * 1024))


def many_descriptors() -> None:
    for _ in range(30):
        os.set_inheritable(os.open(os.devnull, os.O_RDONLY), True)


HARMLESS = [
    blocked,
    ignored,
    strict_umask,
    open_umask,
    foreign_directory,
    few_files,
    small_limits,
    many_descriptors,
]


@pytest.mark.parametrize("inherit", HARMLESS)
def test_a_service_starts_restarts_a_worker_and_stops(samples: Any, inherit: Callable[[], None]) -> None:
    popen = {"preexec_fn": inherit, "close_fds": inherit is not many_descriptors}
    sample = samples.start(popen=popen, PYTHONPATH=samples.directory).wait_until_ready()
    worker = httpx2.get(f"{sample.url}/pid").json()["pid"]

    os.kill(worker, signal.SIGKILL)
    sample.wait_for_log("worker died")
    samples.wait_until(lambda: httpx2.get(f"{sample.url}/pid", timeout=20).json()["pid"] != worker)

    assert sample.stop() == 0
    assert list(samples.tmp.iterdir()) == []
    assert "Traceback" not in sample.output


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("inherit", [blocked, ignored])
def test_stop_signals_stop_a_service_that_inherited_them_blocked_or_ignored(
    samples: Any, inherit: Callable[[], None], number: signal.Signals
) -> None:
    sample = samples.start(popen={"preexec_fn": inherit}).wait_until_ready()

    sample.signal(number)

    assert sample.wait() == 0
    assert "shutdown complete" in sample.messages


def test_programs_that_the_service_starts_inherit_no_blocked_signals(samples: Any) -> None:
    target = samples.directory / "status"
    app = samples.directory / "sample" / "app.py"
    run = f"import subprocess\nsubprocess.run('cat /proc/self/status > {target}', shell=True, check=True)\n"
    app.write_text(app.read_text() + run)
    samples.start(popen={"preexec_fn": blocked}).wait_for_log("features")

    status = dict(line.split(":\t", 1) for line in target.read_text().splitlines())

    assert int(status["SigBlk"], 16) == 0


def test_a_nohup_service_is_reloaded_by_sighup(samples: Any) -> None:
    def detached() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    sample = samples.start(popen={"preexec_fn": detached}).wait_until_ready()

    sample.signal(signal.SIGHUP)

    sample.wait_for_log("workers replaced")
    assert sample.stop() == 0


def test_the_limit_of_open_files_is_raised(samples: Any) -> None:
    sample = samples.start(popen={"preexec_fn": few_files}).wait_until_ready()

    limits = Path(f"/proc/{httpx2.get(f'{sample.url}/pid').json()['pid']}/limits").read_text()
    assert (
        next(line for line in limits.splitlines() if line.startswith("Max open files")).split()[3] == "4096"
    )


def test_a_low_limit_of_open_files_is_a_warning(samples: Any) -> None:
    def low() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200))

    sample = samples.start(popen={"preexec_fn": low}).wait_until_ready()

    warning = sample.wait_for_log("limit of open files is low", level="warning")

    assert (warning["limit"], warning["connections"]) == (200, 100)


def test_the_supervisor_works_with_descriptors_above_1023(samples: Any) -> None:
    def crowded() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
        for _ in range(1100):
            os.set_inheritable(os.open(os.devnull, os.O_RDONLY), True)

    sample = samples.start(popen={"preexec_fn": crowded, "close_fds": False}).wait_until_ready()

    assert sample.stop() == 0
    assert "supervisor failed" not in sample.messages


def test_a_removed_working_directory_is_reported(samples: Any) -> None:
    def removed() -> None:
        directory = tempfile.mkdtemp()
        os.chdir(directory)
        os.rmdir(directory)

    sample = samples.start(popen={"preexec_fn": removed}, PYTHONPATH=samples.directory)

    assert sample.wait() == 78
    assert "working directory" in sample.output
    assert "Traceback" not in sample.output


def test_fatal_warnings_are_reported(samples: Any) -> None:
    sample = samples.finished(PYTHONWARNINGS="error")

    assert sample.process.returncode == 78
    assert "PYTHONWARNINGS" in sample.output
    assert "Traceback" not in sample.output


def test_fatal_warnings_of_one_category_are_accepted(samples: Any) -> None:
    assert samples.ready(PYTHONWARNINGS="error::BytesWarning,ignore").stop() == 0


ORPHAN = """
import subprocess
# A process whose parent ends first: the kernel gives it to PID 1.
subprocess.run(["sh", "-c", "sleep 0.2 & echo $!"], check=True, stdout=subprocess.DEVNULL)
"""


def test_pid_1_reaps_orphans_and_handles_signals(samples: Any) -> None:
    app = samples.directory / "sample" / "app.py"
    app.write_text(app.read_text() + ORPHAN)
    script = 'exec "$0" -m sample'
    command = [
        "unshare",
        "--pid",
        "--fork",
        "--mount-proc",
        "--kill-child",
        "sh",
        "-c",
        script,
        sys.executable,
    ]
    sample = samples.run(command).wait_until_ready()
    (main,) = [int(pid) for pid in children(sample.process.pid)]

    samples.wait_until(lambda: len(list(children(main))) == 1, what="only the worker left")
    os.kill(main, signal.SIGTERM)

    assert sample.wait() == 0
    assert "shutdown complete" in sample.messages


def children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
