"""A private Docker daemon, shared by all test processes on the machine."""

import fcntl
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from starkeel_testing import wait_until

HOST_VARIABLE = "STARKEEL_TEST_DOCKER_HOST"
STATE = Path("/var/tmp/starkeel-docker")


@dataclass(frozen=True)
class Engine:
    """A running Docker.

    Attributes:
        host: Value of `DOCKER_HOST`.
        is_private: Whether the tests have started it. It has no registry and needs fake images.
    """

    host: str
    is_private: bool


@contextmanager
def engine() -> Iterator[Engine]:
    """Run a Docker daemon, or use that of another test process."""
    given = os.environ.get(HOST_VARIABLE)
    if given:
        yield Engine(given, is_private=False)
        return
    STATE.mkdir(exist_ok=True)
    with (STATE / "users").open("w") as users:
        with locked("door"):
            fcntl.flock(users, fcntl.LOCK_SH)
            if not _is_up():
                _start()
        try:
            yield Engine(_HOST, is_private=True)
        finally:
            with locked("door"), suppress(BlockingIOError):
                # Only the last process gets this lock and stops the daemon.
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _stop()


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold a lock between test processes."""
    with (STATE / name).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


_HOST = f"unix://{STATE}/docker.sock"
_PID = STATE / "dockerd.pid"
_LOG = STATE / "dockerd.log"


def _is_up() -> bool:
    client = shutil.which("docker", path="/usr/bin")
    assert client is not None, "docker is not installed: apt-get install docker.io"
    probe = subprocess.run([client, "--host", _HOST, "version"], capture_output=True, timeout=30, check=False)
    return probe.returncode == 0


def _start() -> None:
    # No bridge: two daemons must not share one.
    command = ["dockerd", "--host", _HOST, "--data-root", f"{STATE}/data", "--exec-root", f"{STATE}/exec"]
    command += [
        "--pidfile",
        str(_PID),
        "--bridge",
        "none",
        "--default-address-pool",
        "base=10.213.0.0/16,size=24",
    ]
    with _LOG.open("w") as log:
        # The daemon outlives this process while other processes use it.
        subprocess.run(
            ["setsid", "--fork", *command], stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=True
        )
    wait_until(_is_up, timeout_s=60, what=lambda: f"dockerd\n{_LOG.read_text()[-4000:]}")


def _stop() -> None:
    pid = int(_PID.read_text())
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), timeout_s=60, what="dockerd to end")
