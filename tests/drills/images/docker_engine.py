"""A Docker of the tests' own, shared by all the processes of all the test runs on a machine."""

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

GIVEN = "STARKEEL_TEST_DOCKER_HOST"
STATE = Path("/var/tmp/starkeel-docker")


@dataclass(frozen=True)
class Engine:
    """A running Docker.

    Attributes:
        host: What `DOCKER_HOST` is set to.
        is_ours: Whether it was started for the tests. Such a one has no registry and is given stand-ins.
    """

    host: str
    is_ours: bool


@contextmanager
def engine() -> Iterator[Engine]:
    """Run a Docker, or join the one that another process of the tests runs, until the block ends."""
    given = os.environ.get(GIVEN)
    if given:
        yield Engine(given, is_ours=False)
        return
    STATE.mkdir(exist_ok=True)
    with (STATE / "users").open("w") as users:
        with locked("door"):
            fcntl.flock(users, fcntl.LOCK_SH)
            if not _answers():
                _start()
        try:
            yield Engine(_HOST, is_ours=True)
        finally:
            with locked("door"), suppress(BlockingIOError):
                # Whoever is last turns off the light.
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _stop()


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Do something that only one process of the tests may do at a time."""
    with (STATE / name).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


_HOST = f"unix://{STATE}/docker.sock"
_PID = STATE / "dockerd.pid"
_LOG = STATE / "dockerd.log"


def _answers() -> bool:
    client = shutil.which("docker", path="/usr/bin")
    assert client is not None, "docker is not installed: apt-get install docker.io"
    asked = subprocess.run([client, "--host", _HOST, "version"], capture_output=True, timeout=30, check=False)
    return asked.returncode == 0


def _start() -> None:
    # No bridge of its own: two daemons on one bridge take each other's addresses away.
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
        # It outlives this process when others use it still.
        subprocess.run(
            ["setsid", "--fork", *command], stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=True
        )
    wait_until(_answers, timeout_s=60, what=lambda: f"dockerd\n{_LOG.read_text()[-4000:]}")


def _stop() -> None:
    pid = int(_PID.read_text())
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), timeout_s=60, what="dockerd to end")
