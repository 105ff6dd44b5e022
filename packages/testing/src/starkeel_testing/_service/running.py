"""Starting services: those that must run, and those that must not."""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from .._process.process import Process
from .._process.temporary_directory import temporary_directory
from .service import Service

_START_S = 60.0


@dataclass(frozen=True)
class Finished:
    """A process that has ended.

    Attributes:
        code: Its exit code; negative is the signal that ended it.
        output: Everything it said on stdout and stderr.
    """

    code: int
    output: str


@contextmanager
def running(
    service: str,
    env: Mapping[str, str] | None = None,
    *,
    until: Literal["ready", "started"] = "ready",
    timeout_s: float = _START_S,
) -> Iterator[Service]:
    """Run a service as its own process, from ready until the block ends.

    Args:
        service: Its module, run as `python -m SERVICE` by this interpreter.
        env: Variables to set, over the defaults that the README lists. Nothing else of our own environment
            but `PATH`, `HOME` and `LANG` reaches the process.
        until: What is waited for; `started` for a service that is not to become ready.
        timeout_s: Seconds it may take to be that.

    Raises:
        AssertionError: It did not get so far, or, after a block that went well, it did not end with 0 on
            SIGTERM, or it left processes or temporary files behind. The message holds its output.
    """
    with ExitStack() as stack:
        directory = stack.enter_context(temporary_directory(f"{service}-"))
        process = _started(service, [], env, directory)
        one = Service(service, process)
        stack.callback(one.close)
        one.wait_until(until, timeout_s)
        yield one
        was_stopped_by_the_test = process.popen.poll() is not None
        one.stop()
        if not was_stopped_by_the_test:
            left = sorted(os.listdir(directory / "tmp"))
            assert not left, f"{service} left temporary files: {left}\n{one.output()}"


def exits(
    service: str, env: Mapping[str, str] | None = None, *arguments: str, timeout_s: float = _START_S
) -> Finished:
    """Run a service, or another verb of its program, that must end by itself.

    Args:
        service: Its module.
        env: As for `running`.
        arguments: Of the program, like `migrate`.
        timeout_s: Seconds it may take.

    Raises:
        AssertionError: It has not ended in time, or it left processes behind.
    """
    with temporary_directory(f"{service}-") as directory:
        process = _started(service, arguments, env, directory)
        try:
            code = process.wait(timeout_s)
            left = process.left()
            assert not left, f"{service} left {left}\n{process.output.text()}"
            return Finished(code, process.output.text())
        finally:
            process.close()


def _started(
    service: str, arguments: Sequence[str], env: Mapping[str, str] | None, directory: Path
) -> Process:
    (directory / "tmp").mkdir()
    inherited = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    defaults = {
        "TMPDIR": str(directory / "tmp"),
        "ENVIRONMENT": "development",
        "HOST": "127.0.0.1",
        "PORT": "0",
        "METRICS_HOST": "127.0.0.1",
        "METRICS_PORT": "0",
        "LOG_FORMAT": "json",
        "DRAIN_DELAY_SECONDS": "0",
    }
    # The working directory is the fresh one: neither a `.env` nor a `.data` of the checkout is found.
    return Process(
        [sys.executable, "-m", service, *arguments], env=inherited | defaults | dict(env or {}), cwd=directory
    )
