"""Two instances behind a real load balancer, rolled from one version to the next."""

import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from ...support.load import Load
from .sample_service import REQUESTS, free_port, report, sampling, wait_until

CONFIGURATION = """
global
    maxconn 2000
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    # A slow answer is one: an instance is down when it says so or refuses.
    timeout check 5s
    # A retry would hide what this is about.
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
    program = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
    assert program is not None, "haproxy is not installed: apt-get install --no-install-recommends haproxy"
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
def test_two_instances_are_rolled_and_no_request_fails(tmp_path: Path, capsys: Any, reuse: str) -> None:
    (tmp_path / "service").mkdir()
    ports = {"frontend": free_port(), "a": free_port(), "b": free_port()}
    with sampling(tmp_path / "service") as samples, haproxy(tmp_path, reuse=reuse, **ports):

        def started(name: str, version: str) -> Any:
            instance = samples.ready(PORT=ports[name], DRAIN_DELAY_SECONDS=1, SAMPLE_GREETING=version)
            # Until the load balancer has seen it, too.
            wait_until(lambda: is_reached(ports["frontend"], version), what=f"{name} is in rotation")
            return instance

        instances = {name: started(name, f"{name} one") for name in ("a", "b")}
        load = Load(ports["frontend"], ready=None).start()
        load.wait_for_answers(REQUESTS // 3)
        codes = []
        for name in ("a", "b"):
            instances[name].signal(signal.SIGTERM)
            codes.append(instances[name].wait())
            instances[name] = started(name, f"{name} two")
            load.wait_for_answers(REQUESTS // 3)
        load.finish()

        report(capsys, f"rolling behind HAProxy, http-reuse {reuse}", load, f"exits {codes}")
        assert load.failures == []
        assert codes == [0, 0]
        # Four processes answered: both instances of both versions.
        assert len(load.bodies) == 4
        for name in ("a", "b"):
            assert instances[name].stop() == 0


def is_reached(frontend: int, version: str) -> bool:
    answer = httpx2.get(f"http://127.0.0.1:{frontend}/greeting", timeout=20)
    return bool(answer.status_code == 200 and answer.json()["greeting"] == version)
