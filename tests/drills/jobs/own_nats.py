"""A NATS server with JetStream that a single test controls."""

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

from starkeel_testing import wait_until

from tools.doctor import SBIN


class OwnNats:
    """A NATS server that keeps its port and its data when it is started again.

    Args:
        directory: Its files.
        configuration: More lines of its file of configuration.
    """

    def __init__(self, directory: Path, configuration: str = "") -> None:
        program = shutil.which("nats-server", path=f"{os.environ.get('PATH', os.defpath)}:{SBIN}")
        assert program is not None, "there is no nats-server: apt-get install nats-server"
        self._program = program
        self._directory = directory
        self._configuration = configuration
        self._port = -1
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """URL of the server."""
        return f"nats://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Start the server."""
        ports = self._directory / "ports"
        shutil.rmtree(ports, ignore_errors=True)
        ports.mkdir(parents=True)
        command = [self._program, "-js", "-sd", str(self._directory / "data"), "-a", "127.0.0.1"]
        configuration = self._directory / "nats.conf"
        configuration.write_text(self._configuration)
        command += ["-c", str(configuration), "-p", str(self._port), "--ports_file_dir", str(ports)]
        command += ["-l", str(self._directory / "log")]
        self._process = subprocess.Popen(command)

        def port() -> int | None:
            for file in ports.glob("*.ports"):
                if text := file.read_text():
                    return int(json.loads(text)["nats"][0].rpartition(":")[2])
            return None

        self._port = wait_until(port, timeout_s=20, what="NATS that accepts connections")

    def kill(self) -> None:
        """Kill the server at once; its data is kept."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def delete_data(self) -> None:
        """Delete the data of a server that was killed, as if its disk was lost."""
        assert self._process is None
        shutil.rmtree(self._directory / "data")
