"""`just tour` with the services of `just dev`, and without them."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tools.registry import ROOT

from ..support.dev import dev

NEEDED_SERVICES = ("accounts", "orders")


def test_the_tour_succeeds_and_its_trace_crosses_services(tmp_path: Path) -> None:
    with dev(tmp_path) as running:
        running.wait_for("stop everything")
        toured = running.tour()
        traced = running.tool("traces", "--limit", "100")

    assert toured.returncode == 0, f"{toured.stdout}{toured.stderr}\n{running.plain}"
    assert "HTTP/1.1 201" in toured.stdout
    assert "HTTP/1.1 400" in toured.stdout
    assert re.search(r'^orders_created_total\{product="oak-plank"\} 1\.0$', toured.stdout, re.MULTILINE)
    assert (traced.returncode, traced.stderr) == (0, ""), traced
    assert re.search(r"^orders · POST /api/orders 201 .*ms$", traced.stdout, re.MULTILINE), traced.stdout
    assert re.search(r"^│ └ GET /api/users/me +accounts ", traced.stdout, re.MULTILINE), traced.stdout
    one_trace = toured.stdout.rpartition("# One trace")[2]
    assert "order created" in one_trace
    assert "/api/users/me" in one_trace

    stopped = subprocess.run(
        [sys.executable, "-m", "tools.tour", *running.ports, "--directory", tmp_path],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    addresses = {member.name: member.url for member in running.members}
    assert stopped.returncode == 1
    assert stopped.stderr == (
        f"no service responds: accounts at {addresses['accounts']}, orders at {addresses['orders']}; "
        "start them in another terminal: uv run just dev\n"
    )


@pytest.mark.needs_postgres
@pytest.mark.needs_redis
def test_the_tour_succeeds_on_servers(tmp_path: Path) -> None:
    with dev(tmp_path, "--postgres", "--redis") as running:
        running.wait_for("stop everything")
        toured = running.tour()

    assert toured.returncode == 0, f"{toured.stdout}{toured.stderr}\n{running.plain}"
