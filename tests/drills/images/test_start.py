"""Time from `docker run` to the first 200, compared with a bare Litestar in the same image."""

import os
import statistics
import time
from collections.abc import Callable
from functools import partial

import pytest

from ...support.report import report
from .container_fleet import HARDENED, MEMORY, Container, Fleet

pytestmark = pytest.mark.alone

ROUNDS = int(os.environ.get("STARKEEL_TEST_START_ROUNDS", "3"))
RATIO = 1.3
BARE = """\
from granian import Granian
from litestar import Litestar, get


@get("/")
async def index() -> dict[str, str]:
    return {}


app = Litestar([index])

if __name__ == "__main__":
    Granian("bare:app", interface="asgi", address="0.0.0.0", port=3000).serve()
"""
# Not its command line: the images have no click.
GRANIAN = ("/app/.venv/bin/python", "-m", "bare")


def test_the_time_to_the_first_response(containers: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    containers.file("bare.py", BARE)
    # Once each, not measured: applies the migrations and fills the page cache.
    _first_response(lambda: containers.service("accounts", alias="warm"), "/health/ready")
    _first_response(lambda: _bare(containers), "/")
    starkeel, bare = [], []
    for number in range(ROUNDS):
        starkeel.append(
            _first_response(partial(containers.service, "accounts", alias=f"n{number}"), "/health/ready")
        )
        bare.append(_first_response(lambda: _bare(containers), "/"))
    ratio = statistics.median(starkeel) / statistics.median(bare)
    report(
        capsys,
        "from docker run to the first 200",
        accounts=_shown(starkeel),
        bare_Litestar=_shown(bare),
        ratio=f"{ratio:.2f}, goal {RATIO}",
    )
    assert len(starkeel) == len(bare) == ROUNDS


def _first_response(start: Callable[[], Container], path: str) -> float:
    began = time.monotonic()
    container = start()
    container.wait_until_ready(path)
    took = time.monotonic() - began
    container.docker.remove(container.name)
    return took


def _bare(containers: Fleet) -> Container:
    # The same ports and memory: Docker starts a process for each port.
    ports = ("--publish", "127.0.0.1::3000", "--publish", "127.0.0.1::9090")
    secret = ("--env", "PYTHONPATH=/run/secrets")
    options = ("--volume", f"{containers.directory}:/run/secrets:ro", "--entrypoint", GRANIAN[0])
    return containers.run(
        "bare",
        containers.images["accounts"],
        *HARDENED,
        *MEMORY,
        *ports,
        *secret,
        *options,
        command=GRANIAN[1:],
    )


def _shown(seconds: list[float]) -> str:
    return f"{statistics.median(seconds):.2f} s ({', '.join(f'{each:.2f}' for each in seconds)})"
