"""Shutdown, as clients and the log show it."""

import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest
from starkeel_server._process.signals import STOP_SIGNALS
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
        assert list(parts) == ['event: end\r\ndata: {"code":1012,"reason":"service restart"}\r\n\r\n']

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


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_process_and_its_group_does_not_shorten_the_drain(
    samples: Any, number: signal.Signals
) -> None:
    own_group = {"start_new_session": True}
    sample = samples.start(WORKERS=2, DRAIN_DELAY_SECONDS=1, popen=own_group).wait_until_ready()
    with ThreadPoolExecutor() as pool:
        slow = pool.submit(httpx2.get, f"{sample.url}/slow/2.0", timeout=20)
        sample.wait_for_log("slow began")
        sample.signal(number)
        # Two that are pending at the same time would be one.
        sample.wait_for_log(STOP_SIGNALS[number])
        samples.signal_group(sample, number)
        assert slow.result().status_code == 200

    assert sample.wait() == 0
    assert any(message.endswith("again: already stopping") for message in sample.messages)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT])
def test_ctrl_c_again_and_sigquit_end_all_processes_immediately(samples: Any, number: signal.Signals) -> None:
    sample = samples.ready(WORKERS=2, DRAIN_DELAY_SECONDS=60)
    sample.signal(signal.SIGINT)
    sample.wait_for_log("received Ctrl+C")

    # A second Ctrl-C counts from a second after the first; before, the service only goes on stopping.
    samples.wait_until(lambda: sample.signal(number) or sample.process.poll() is not None)

    assert sample.wait(timeout_s=5) == 130
    assert any(message.endswith(": exiting immediately") for message in sample.messages)
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


def test_workers_stop_when_the_main_process_is_killed(samples: Any) -> None:
    sample = samples.ready(WORKERS=2)

    sample.process.kill()

    sample.wait()
    samples.wait_until(lambda: not samples.processes())
    assert sample.messages.count("closing database connections") == 2


def test_a_hanging_flush_does_not_exceed_its_timeout(samples: Any) -> None:
    signature = "def stop_process(*, timeout_s):\n"
    samples.edit("settings.py", signature, f"{signature}    time.sleep(timeout_s)\n")
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
