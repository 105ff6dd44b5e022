"""Shutdown, as clients and the log show it."""

import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import httpx2
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect


@pytest.mark.parametrize(
    ("number", "line"), [(signal.SIGTERM, "received SIGTERM"), (signal.SIGINT, "received Ctrl+C")]
)
def test_a_signal_lets_requests_in_flight_finish(samples: Any, number: signal.Signals, line: str) -> None:
    sample = samples.ready()
    with ThreadPoolExecutor() as pool:
        slow = pool.submit(httpx2.get, f"{sample.url}/slow/1.0", timeout=20)
        sample.wait_for_log("slow began")
        sample.signal(number)
        answer = slow.result()

    assert (answer.status_code, answer.text) == (200, "done")
    assert sample.wait() == 0
    expected = [line, "closing database connections", "shutdown complete"]
    assert [message for message in sample.messages if message in expected] == expected
    # The final flush comes after the last line, in the main process and in the worker.
    assert sample.messages[-2:] == ["shutdown complete", "process stopped"]
    assert sample.messages.count("process stopped") == 2


def test_nothing_is_left_behind(samples: Any) -> None:
    sample = samples.ready(WORKERS=2)
    assert len(list(samples.tmp.iterdir())) == 1
    assert len(samples.processes()) == 3

    assert sample.stop() == 0

    assert list(samples.tmp.iterdir()) == []
    samples.wait_until(lambda: not samples.processes())


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


def test_requests_that_take_longer_than_the_grace_get_a_503(samples: Any) -> None:
    sample = samples.ready(SHUTDOWN_GRACE_SECONDS=0.5)
    with ThreadPoolExecutor() as pool:
        slow = pool.submit(httpx2.get, f"{sample.url}/slow/60.0", timeout=20)
        sample.wait_for_log("slow began")
        sample.signal(signal.SIGTERM)
        answer = slow.result()

    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == 503
    assert answer.headers["retry-after"] == "1"
    assert answer.headers["connection"] == "close"
    assert sample.wait() == 0
    assert sample.wait_for_log("requests cancelled")["count"] == 1
    assert "closing database connections" in sample.messages


def test_an_uncancellable_handler_does_not_delay_the_503(samples: Any) -> None:
    sample = samples.ready(SHUTDOWN_GRACE_SECONDS=0.5)
    with ThreadPoolExecutor() as pool:
        deaf = pool.submit(httpx2.get, f"{sample.url}/deaf", timeout=20)
        sample.wait_for_log("deaf began")
        sample.signal(signal.SIGTERM)

        assert deaf.result().status_code == 503

    assert sample.wait() == 0


def test_half_sent_requests_do_not_delay_the_shutdown(samples: Any) -> None:
    sample = samples.ready(SHUTDOWN_GRACE_SECONDS=0.5)
    address = ("127.0.0.1", int(sample.url.rpartition(":")[2]))
    with (
        socket.create_connection(address, timeout=20) as head,
        socket.create_connection(address, timeout=20) as body,
        socket.create_connection(address, timeout=20),
    ):
        head.sendall(b"GET /pid HTTP/1.1\r\nHo")
        body.sendall(b"POST /body HTTP/1.1\r\nHost: sample\r\nContent-Length: 10\r\n\r\nhalf")
        sample.wait_for_log("body began")
        sample.signal(signal.SIGTERM)

        assert body.recv(100).startswith(b"HTTP/1.1 503 ")
        assert sample.wait() == 0
    assert "closing database connections" in sample.messages


def test_an_event_stream_ends_like_a_complete_response(samples: Any) -> None:
    sample = samples.ready()
    with httpx2.stream("GET", f"{sample.url}/events", timeout=20) as stream:
        parts = stream.iter_text()
        assert "hello" in next(parts)
        sample.signal(signal.SIGTERM)

        # An aborted connection would raise.
        assert list(parts) == []

    assert sample.wait() == 0
    assert "events ended" in sample.messages
    assert "requests cancelled" not in sample.messages


def test_a_websocket_is_closed_as_a_service_restart(samples: Any) -> None:
    sample = samples.ready()
    with connect(f"{sample.url.replace('http', 'ws')}/live") as live:
        assert live.recv(timeout=10) == "hello"
        live.send("back")
        assert live.recv(timeout=10) == "back"
        sample.signal(signal.SIGTERM)
        with pytest.raises(ConnectionClosed) as closed:
            live.recv(timeout=10)

    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1012
    assert sample.wait() == 0
    assert "live ended" in sample.messages


def test_websockets_stay_open_during_the_drain_delay(samples: Any) -> None:
    sample = samples.ready(DRAIN_DELAY_SECONDS=60)
    with connect(f"{sample.url.replace('http', 'ws')}/live") as live:
        assert live.recv(timeout=10) == "hello"
        sample.signal(signal.SIGTERM)
        samples.wait_until(lambda: httpx2.get(f"{sample.url}/health/ready").status_code == 503)

        live.send("still here")

        assert live.recv(timeout=10) == "still here"


def test_a_second_signal_ends_all_processes_immediately(samples: Any) -> None:
    sample = samples.ready(WORKERS=2, DRAIN_DELAY_SECONDS=60)
    sample.signal(signal.SIGTERM)
    sample.wait_for_log("received SIGTERM")

    sample.signal(signal.SIGINT)

    assert sample.wait(timeout_s=5) == 130
    assert "received Ctrl+C again: exiting immediately" in sample.messages
    assert {"worker died", "shutdown complete"}.isdisjoint(sample.messages)
    samples.wait_until(lambda: not samples.processes())
    assert list(samples.tmp.iterdir()) == []


def test_a_killed_worker_is_reported_by_the_exit_code(samples: Any) -> None:
    sample = samples.ready(SHUTDOWN_GRACE_SECONDS=0.5, SHUTDOWN_FLUSH_SECONDS=0.5)
    with ThreadPoolExecutor() as pool:
        stuck = pool.submit(httpx2.get, f"{sample.url}/stuck", timeout=20)
        sample.wait_for_log("stuck began")
        sample.signal(signal.SIGTERM)
        assert isinstance(stuck.exception(), httpx2.TransportError)

    assert sample.wait() == 70
    assert "worker killed: it did not stop in time" in sample.messages
    assert "shutdown complete" in sample.messages


def test_the_flush_timeout_is_enforced(samples: Any) -> None:
    sample = samples.ready(SAMPLE_FAILS="shutdown", SHUTDOWN_FLUSH_SECONDS=0.5)

    assert sample.stop() == 70
    assert sample.wait_for_log("shutdown timed out")["after_s"] == 0.5


def test_a_signal_to_the_process_group_drains_as_well(samples: Any) -> None:
    """Terminals send SIGINT, and systemd SIGTERM, to the whole group."""
    sample = samples.start(WORKERS=2, popen={"start_new_session": True}).wait_until_ready()
    with ThreadPoolExecutor() as pool:
        slow = pool.submit(httpx2.get, f"{sample.url}/slow/1.0", timeout=20)
        sample.wait_for_log("slow began")
        samples.signal_group(sample, signal.SIGINT)
        assert slow.result().status_code == 200

    assert sample.wait() == 0
    assert sample.messages.count("closing database connections") == 2
    assert "Traceback" not in sample.output


def test_a_stop_before_the_workers_are_up_skips_the_drain_delay(samples: Any) -> None:
    app = samples.directory / "sample" / "app.py"
    hang = "        if self.settings.fails == 'slow lifespan':\n            await asyncio.sleep(3600)\n"
    app.write_text(app.read_text().replace("        alive.inc()\n", f"{hang}        alive.inc()\n"))
    sample = samples.start(SAMPLE_FAILS="slow lifespan", DRAIN_DELAY_SECONDS=60)
    sample.wait_for_log("process started", role="worker")

    sample.signal(signal.SIGTERM)

    assert sample.wait(timeout_s=10) == 0
    assert sample.messages[-2:] == ["shutdown complete", "process stopped"]


def test_workers_stop_when_the_main_process_is_killed(samples: Any) -> None:
    sample = samples.ready(WORKERS=2)

    sample.process.kill()

    sample.wait()
    samples.wait_until(lambda: not samples.processes())
    assert sample.messages.count("closing database connections") == 2


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


def test_a_hanging_flush_does_not_exceed_its_timeout(samples: Any) -> None:
    settings = samples.directory / "sample" / "settings.py"
    flush = "def stop_process(*, timeout_s):\n    time.sleep(timeout_s)\n"
    settings.write_text(settings.read_text().replace("def stop_process(*, timeout_s):\n", flush))
    sample = samples.ready(SHUTDOWN_GRACE_SECONDS=0.5, SHUTDOWN_FLUSH_SECONDS=0.5)
    address = ("127.0.0.1", int(sample.url.rpartition(":")[2]))
    with socket.create_connection(address, timeout=20) as head:
        head.sendall(b"GET /pid HTTP/1.1\r\nHo")
        with ThreadPoolExecutor() as pool:
            slow = pool.submit(httpx2.get, f"{sample.url}/slow/60.0", timeout=20)
            sample.wait_for_log("slow began")
            sample.signal(signal.SIGTERM)
            assert slow.result().status_code == 503
        # No worker was killed, although every wait took its maximum time.
        assert sample.wait() == 0
