"""Starting services that must run, and programs that must end."""

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
    """Result of a process that has ended.

    Attributes:
        code: Exit code, or the negative number of the signal that ended it.
        output: Output on stdout and stderr.
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
    """Run a service as a separate process until the block ends.

    Args:
        service: Module to run as `python -m SERVICE` with the current interpreter.
        env: Variables to set in addition to the defaults that the README lists. Of this process's environment
            only `PATH`, `HOME` and `LANG` are passed on.
        until: State to wait for before the block; `started` for a service that does not become ready.
        timeout_s: Seconds to reach that state.

    Raises:
        AssertionError: The state was not reached, or, after a block without an exception, the exit code on
            SIGTERM was not 0, or processes or temporary files were left. The message contains the output.
    """
    with ExitStack() as stack:
        directory = stack.enter_context(temporary_directory(f"{service}-"))
        process = _start(service, [], env, directory)
        handle = Service(service, process)
        stack.callback(handle.close)
        handle.wait_until(until, timeout_s)
        yield handle
        was_stopped_by_the_test = process.popen.poll() is not None
        handle.stop()
        if not was_stopped_by_the_test:
            left = sorted(os.listdir(directory / "tmp"))
            assert not left, f"{service} left temporary files: {left}\n{handle.output()}"


def exits(
    service: str, env: Mapping[str, str] | None = None, *arguments: str, timeout_s: float = _START_S
) -> Finished:
    """Run a service or one of its commands that must end by itself.

    Args:
        service: Module to run.
        env: As for `running`.
        arguments: Command line, like `migrate`.
        timeout_s: Seconds to wait for the end.

    Raises:
        AssertionError: It did not end in time, or processes were left.
    """
    with temporary_directory(f"{service}-") as directory:
        process = _start(service, arguments, env, directory)
        try:
            code = process.wait(timeout_s)
            left = process.remaining()
            assert not left, f"{service} left {left}\n{process.output.text()}"
            return Finished(code, process.output.text())
        finally:
            process.close()


def _start(service: str, arguments: Sequence[str], env: Mapping[str, str] | None, directory: Path) -> Process:
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
    # In the new directory, so that neither a `.env` nor a `.data` of the checkout is found.
    return Process(
        [sys.executable, "-m", service, *arguments], env=inherited | defaults | dict(env or {}), cwd=directory
    )
