"""Docker's command line."""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .docker_engine import Engine


class Docker:
    """The client of one engine."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        # Debian's client first: it matches Debian's engine.
        program = shutil.which("docker", path=f"/usr/bin:{os.environ.get('PATH', '')}")
        assert program is not None
        self._program = program

    def __call__(self, *arguments: str | Path, timeout_s: float = 120, stdin: str | None = None) -> str:
        """Run a command and return its output.

        Raises:
            AssertionError: It failed; the message has its output.
        """
        done = self.tried(*arguments, timeout_s=timeout_s, stdin=stdin)
        assert done.returncode == 0, f"docker {' '.join(map(str, arguments))}\n{done.stdout}\n{done.stderr}"
        return done.stdout.strip()

    def tried(
        self, *arguments: str | Path, timeout_s: float = 120, stdin: str | None = None
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command that may fail."""
        return subprocess.run(
            [self._program, *arguments],
            env=self.environ,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    @property
    def environ(self) -> dict[str, str]:
        """Environment of commands for this engine."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        return kept | {"DOCKER_HOST": self.engine.host, "DOCKER_BUILDKIT": "1"}

    def inspect(self, name: str) -> dict[str, Any]:
        """Return the details of a container, an image or a network."""
        found: list[dict[str, Any]] = json.loads(self("inspect", name))
        return found[0]

    def build(
        self, context: Path, tag: str, *options: str | Path, arguments: Mapping[str, str] | None = None
    ) -> str:
        """Build an image and return the log of the builder."""
        given = [
            part for name, value in (arguments or {}).items() for part in ("--build-arg", f"{name}={value}")
        ]
        command = ["build", "--progress", "plain", "--network", "host", *given, *options]
        done = self.tried(*command, *(["--tag", tag] if tag else []), context, timeout_s=900)
        assert done.returncode == 0, f"{tag} was not built\n{done.stderr[-6000:]}"
        return done.stderr

    def remove(self, *containers: str) -> None:
        """Remove containers with their volumes, running or not."""
        self.tried("rm", "--force", "--volumes", *containers)
