"""A rolling update of two instances behind HAProxy."""

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from ...support.programs import find_program, free_port
from ...support.report import report
from .sample_service import REQUESTS, sampling, start_load, wait_until

pytestmark = pytest.mark.alone

CONFIGURATION = """
global
    maxconn 2000
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    # A slow response counts: an instance is down only if it is not ready or refuses connections.
    timeout check 5s
    # A retry would hide a failure.
    retries 0
    no option redispatch
frontend in
    bind 127.0.0.1:{frontend}
    default_backend instances
backend instances
    balance roundrobin
    http-reuse {reuse}
    option httpchk GET /health/ready
    default-server check inter 200ms fall 1 rise 1
    server a 127.0.0.1:{a}
    server b 127.0.0.1:{b}
"""


@contextmanager
def haproxy(directory: Path, **values: object) -> Iterator[None]:
    program = find_program("haproxy", package="haproxy")
    file = directory / "haproxy.cfg"
    file.write_text(CONFIGURATION.format(**values))
    with (directory / "haproxy.log").open("w") as log:
        process = subprocess.Popen([program, "-f", file, "-db"], stdout=log, stderr=log)
    try:
        yield
    finally:
        process.terminate()
        process.wait(20)


@pytest.mark.parametrize("reuse", ["safe", "never"])
def test_a_rolling_update_fails_no_request(tmp_path: Path, capsys: Any, reuse: str) -> None:
    (tmp_path / "service").mkdir()
    ports = {"frontend": free_port(), "a": free_port(), "b": free_port()}
    with sampling(tmp_path / "service") as samples, haproxy(tmp_path, reuse=reuse, **ports):

        def started(name: str, version: str) -> Any:
            instance = samples.ready(PORT=ports[name], DRAIN_DELAY_SECONDS=1, SAMPLE_GREETING=version)
            # Until the load balancer has checked it.
            wait_until(lambda: is_reached(ports["frontend"], version), what=f"{name} is in rotation")
            return instance

        instances = {name: started(name, f"{name} one") for name in ("a", "b")}
        load = start_load(f"http://127.0.0.1:{ports['frontend']}", ready=None)
        load.wait_for_responses(REQUESTS // 3)
        codes = []
        for name in ("a", "b"):
            instances[name].signal(signal.SIGTERM)
            codes.append(instances[name].wait())
            instances[name] = started(name, f"{name} two")
            load.wait_for_responses(REQUESTS // 3)
        load.finish()

        report(capsys, f"rolling update behind HAProxy, http-reuse {reuse}", load.summary, exit_codes=codes)
        assert load.failures == []
        assert codes == [0, 0]
        # Four processes responded: both instances, in both versions.
        assert len(load.bodies) == 4
        for name in ("a", "b"):
            assert instances[name].stop() == 0


def is_reached(frontend: int, version: str) -> bool:
    response = httpx2.get(f"http://127.0.0.1:{frontend}/greeting", timeout=20)
    return bool(response.status_code == 200 and response.json()["greeting"] == version)
