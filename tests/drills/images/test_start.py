"""How long it takes from `docker run` to the first 200, beside a bare Litestar in the same image."""

import os
import statistics
import time
from collections.abc import Callable
from functools import partial

import pytest

from .conftest import told
from .container_fleet import HARDENED, MEMORY, Container, Fleet

ROUNDS = int(os.environ.get("STARKEEL_TEST_START_ROUNDS", "3"))
RATIO = 1.5
BARE = """\
from litestar import Litestar, get


@get("/")
async def index() -> dict[str, str]:
    return {}


app = Litestar([index])
"""
GRANIAN = (
    "/app/.venv/bin/python",
    "-m",
    "granian",
    "--interface",
    "asgi",
    "--host",
    "0.0.0.0",
    "--port",
    "3000",
)


def test_the_time_to_the_first_answer(containers: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    containers.file("bare.py", BARE)
    # Once each, unmeasured: the migrations are done, and the files are read.
    _first_answer(lambda: containers.service("accounts", alias="warm"), "/health/ready")
    _first_answer(lambda: _bare(containers), "/")
    ours, bare = [], []
    for number in range(ROUNDS):
        ours.append(
            _first_answer(partial(containers.service, "accounts", alias=f"n{number}"), "/health/ready")
        )
        bare.append(_first_answer(lambda: _bare(containers), "/"))
    ratio = statistics.median(ours) / statistics.median(bare)
    figures = f"accounts {_shown(ours)}, bare Litestar {_shown(bare)}"
    told(capsys, f"from docker run to the first 200: {figures}; ratio {ratio:.2f}, wanted {RATIO}")
    assert len(ours) == len(bare) == ROUNDS


def _first_answer(start: Callable[[], Container], path: str) -> float:
    began = time.monotonic()
    container = start()
    container.wait_until_ready(path)
    took = time.monotonic() - began
    container.docker.remove(container.name)
    return took


def _bare(containers: Fleet) -> Container:
    # As many ports and as little memory as ours has: each port is a process more that Docker starts.
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
        command=(*GRANIAN[1:], "bare:app"),
    )


def _shown(seconds: list[float]) -> str:
    return f"{statistics.median(seconds):.2f} s ({', '.join(f'{one:.2f}' for one in seconds)})"
