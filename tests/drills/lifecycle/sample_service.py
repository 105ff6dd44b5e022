"""What the drills share: the sample service of the server's tests, run and looked at from outside."""

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from ...support.load import Load

_SAMPLE = Path(__file__).parents[3] / "packages" / "server" / "tests" / "sample.py"

REQUESTS = int(os.environ.get("DRILL_REQUESTS", "3000"))
"""How many requests a drill sends at least; more outside CI."""


def _loaded(path: Path) -> Any:
    spec = spec_from_file_location("drill_sample", path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_sample = _loaded(_SAMPLE)
wait_until = _sample.wait_until


@contextmanager
def sampling(directory: Path) -> Iterator[Any]:
    """Starts processes of the sample service; nothing may be left of them, be it ended well or badly."""
    with ExitStack() as stack:
        samples = _sample.Samples(directory, stack)
        yield samples
    wait_until(lambda: not samples.processes(), timeout_s=10, what="no process left")
    assert list(samples.tmp.iterdir()) == []


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port: int = reserved.getsockname()[1]
    return port


def is_refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except ConnectionRefusedError:
        return True
    return False


def report(capsys: Any, drill: str, load: Load, *more: str) -> None:
    """Print a drill's figures, whatever happens to other output."""
    with capsys.disabled():
        sys.stdout.write(", ".join([f"\n{drill}: {load.summary}", *more]) + "\n")
