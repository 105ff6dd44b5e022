"""Drain delay: connections, websockets and load between the stop signal and the shutdown."""

import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from threading import Event
from typing import Any

import httpx2
import pytest
from websockets.sync.client import connect


def test_new_connections_are_served_and_closed_during_the_drain_delay(samples: Any) -> None:
    sample = samples.ready(DRAIN_DELAY_SECONDS=60)
    url = sample.url
    with httpx2.Client(base_url=url) as kept:
        assert "connection" not in kept.get("/pid").headers
        sample.signal(signal.SIGTERM)
        sample.wait_for_log("received SIGTERM")
        samples.wait_until(lambda: httpx2.get(f"{url}/health/ready").status_code == 503)

        ready, on_the_kept_one, on_a_new_one = (
            httpx2.get(f"{url}/health/ready"),
            kept.get("/pid"),
            httpx2.get(f"{url}/pid"),
        )

    assert ready.json() == {"status": "draining", "checks": {}}
    assert (on_the_kept_one.status_code, on_the_kept_one.headers["connection"]) == (200, "close")
    assert (on_a_new_one.status_code, on_a_new_one.headers["connection"]) == (200, "close")
    assert httpx2.get(f"{url}/health/live").status_code == 200
    assert httpx2.get(f"{sample.admin}/ready").json()["status"] == "draining"


def test_no_connection_is_refused_during_the_drain_delay(samples: Any) -> None:
    sample = samples.ready(DRAIN_DELAY_SECONDS=1)
    url = sample.url
    sample.signal(signal.SIGTERM)

    # Like a load balancer: send requests until the first response that is not ready.
    while httpx2.get(f"{url}/health/ready").status_code == 200:
        assert httpx2.get(f"{url}/pid").status_code == 200

    assert httpx2.get(f"{url}/pid").status_code == 200
    assert sample.wait() == 0


def test_connections_are_refused_after_the_drain_delay(samples: Any) -> None:
    sample = samples.ready()
    url, port = sample.url, int(sample.url.rpartition(":")[2])
    with ThreadPoolExecutor() as pool:
        slow = pool.submit(httpx2.get, f"{url}/slow/2.0", timeout=20)
        sample.wait_for_log("slow began")
        sample.signal(signal.SIGTERM)

        def is_refused() -> bool:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=5).close()
            except ConnectionRefusedError:
                return True
            return False

        samples.wait_until(is_refused)
        assert slow.result().status_code == 200


def test_websockets_stay_open_during_the_drain_delay(samples: Any) -> None:
    sample = samples.ready(DRAIN_DELAY_SECONDS=60)
    with connect(f"{sample.url.replace('http', 'ws')}/live") as live:
        assert live.recv(timeout=10) == "hello"
        sample.signal(signal.SIGTERM)
        samples.wait_until(lambda: httpx2.get(f"{sample.url}/health/ready").status_code == 503)

        live.send("still here")

        assert live.recv(timeout=10) == "still here"


def test_a_stop_before_the_workers_are_up_skips_the_drain_delay(samples: Any) -> None:
    hang = "        if self.settings.fails == 'slow lifespan':\n            await asyncio.sleep(3600)\n"
    samples.edit("app.py", "        alive.inc()\n", f"{hang}        alive.inc()\n")
    sample = samples.start(SAMPLE_FAILS="slow lifespan", DRAIN_DELAY_SECONDS=60)
    sample.wait_for_log("process started", role="worker")

    sample.signal(signal.SIGTERM)

    assert sample.wait(timeout_s=10) == 0
    assert sample.messages[-2:] == ["shutdown complete", "process stopped"]


@pytest.mark.parametrize("workers", [1, 2])
def test_no_request_fails_under_load(samples: Any, workers: int) -> None:
    """Kept and new connections, fast and slow requests, until a load balancer stops sending."""
    sample = samples.ready(WORKERS=workers, DRAIN_DELAY_SECONDS=1)
    url = sample.url
    not_ready, under_load = Event(), Event()
    answered: list[int] = []

    def balancer() -> None:
        while httpx2.get(f"{url}/health/ready", timeout=20).status_code == 200:
            not_ready.wait(0.2)
        not_ready.set()

    def load(number: int) -> None:
        kept = httpx2.Client(base_url=url, timeout=20)
        while not not_ready.is_set():
            path = "/slow/0.2" if len(answered) % 50 == 0 else "/pid"
            # A failed request raises.
            answered.append(
                (kept.get(path) if number % 2 else httpx2.get(url + path, timeout=20)).status_code
            )
            if len(answered) > 300:
                under_load.set()
        kept.close()

    with ThreadPoolExecutor() as pool:
        running = [pool.submit(balancer), *(pool.submit(load, number) for number in range(4))]
        assert under_load.wait(30)
        sample.signal(signal.SIGTERM)
        for future in running:
            future.result()

    assert set(answered) == {200}
    assert sample.wait() == 0


UPGRADE = b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "


@pytest.mark.parametrize(
    ("path", "headers"),
    [(b"/flood", b""), (b"/flood-socket", UPGRADE + b"dGhlIHNhbXBsZSBub25jZQ==\r\n")],
)
def test_clients_that_do_not_read_do_not_delay_the_stop(samples: Any, path: bytes, headers: bytes) -> None:
    sample = samples.ready(SHUTDOWN_GRACE_SECONDS=2, SHUTDOWN_FLUSH_SECONDS=1)
    address = ("127.0.0.1", int(sample.url.rpartition(":")[2]))
    with ExitStack() as stack:
        for _ in range(8):
            client = stack.enter_context(socket.create_connection(address, timeout=20))
            client.sendall(b"GET %b HTTP/1.1\r\nHost: sample\r\n%b\r\n" % (path, headers))
        sample.wait_for_log("flood began", count=8)
        # Until the buffers are full, all of them on this machine.
        samples.wait_until(lambda: is_idle(sample.process.pid), what="the streams to wait for their clients")
        sample.signal(signal.SIGTERM)

        assert sample.wait() == 0

    assert "worker killed: it did not stop in time" not in sample.messages


def is_idle(main: int) -> bool:
    """Return whether the workers of a main process used almost no processor time for a moment."""

    def ticks() -> int:
        pids = Path(f"/proc/{main}/task/{main}/children").read_text().split()
        return sum(int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11]) for pid in pids)

    before = ticks()
    Event().wait(0.5)
    return ticks() - before <= 5
