"""Replace the containers of a service one at a time, without failed requests: `just roll orders`."""

import argparse
import json
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

_READY_S = 90
_NOTICED_S = 3
"""Seconds until the proxy has resolved names (every second) and checked readiness (twice a second)."""


@dataclass(frozen=True)
class Roll:
    """Rolling replacement of one service; `compose` is the command with the file and the profile."""

    compose: list[str]
    service: str

    def run(self) -> int:
        """Replace every running container; return the exit code."""
        old = self._containers()
        if not old:
            sys.stderr.write(f"no container of {self.service} is running: start it with `just up`\n")
            return 1
        for container in old:
            self._replace(container)
        sys.stdout.write(f"{self.service}: {len(old)} containers replaced\n")
        return 0

    def _replace(self, container: str) -> None:
        count = len(self._containers()) + 1
        sys.stdout.write(f"{self.service}: starting a replacement, then stopping {container[:12]}\n")
        scale = ("--scale", f"{self.service}={count}")
        up = ("up", "--detach", "--no-build", "--no-deps", "--no-recreate")
        _run([*self.compose, *up, *scale, self.service])
        until = time.monotonic() + _READY_S
        while self._healthy() != count:
            if time.monotonic() > until:
                what = f"{count} ready containers of {self.service}"
                sys.exit(
                    f"timed out after {_READY_S} s waiting for {what}; the old containers are still running"
                )
            time.sleep(0.5)
        time.sleep(_NOTICED_S)
        # Sends SIGTERM and waits for the stop_grace_period of the service.
        _run(["docker", "stop", container])
        _run(["docker", "rm", container])

    def _containers(self) -> list[str]:
        return _run([*self.compose, "ps", "--quiet", self.service]).split()

    def _healthy(self) -> int:
        found = self._containers()
        states = json.loads(_run(["docker", "inspect", *found])) if found else []
        return sum(state["State"].get("Health", {}).get("Status") == "healthy" for state in states)


def _run(command: list[str]) -> str:
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)  # noqa: S603 - as given
    if done.returncode != 0:
        sys.exit(done.returncode)
    return done.stdout


def main() -> int:
    """Replace the containers named by the arguments; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("service")
    parser.add_argument("--profile", default="dev", help="profile of the running stack (dev)")
    parser.add_argument("--compose", default="docker compose", help="Docker Compose command")
    given = parser.parse_args()
    file = str(Path(__file__).with_name("compose.yaml"))
    compose = [*shlex.split(given.compose), "--file", file, "--profile", given.profile]
    return Roll(compose, given.service).run()


if __name__ == "__main__":
    sys.exit(main())
