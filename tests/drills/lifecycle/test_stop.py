"""Shutdown under load."""

import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from ...support.programs import free_port
from ...support.report import report
from .sample_service import REQUESTS, is_refused, port_of, sampling, start_load, wait_until

pytestmark = pytest.mark.alone


@pytest.mark.parametrize("workers", [1, 2])
def test_sigterm_fails_no_request(tmp_path: Path, capsys: Any, workers: int) -> None:
    with sampling(tmp_path) as samples:
        sample = samples.ready(WORKERS=workers, DRAIN_DELAY_SECONDS=1)
        port = port_of(sample.url)
        load = start_load(sample.url)
        load.wait_for_responses(REQUESTS)

        sample.signal(signal.SIGTERM)

        load.join()
        code = sample.wait()
        report(capsys, f"SIGTERM with {workers} workers", load.summary, exit=code)
        assert load.failures == []
        assert load.closes > 0
        assert code == 0
        assert is_refused(port)
        assert sample.messages[-2:] == ["shutdown complete", "process stopped"]


def test_sigterm_with_everything_open_fails_no_request(tmp_path: Path, capsys: Any) -> None:
    with sampling(tmp_path) as samples, ExitStack() as stack:
        sample = samples.ready(WORKERS=2, DRAIN_DELAY_SECONDS=1, SHUTDOWN_GRACE_SECONDS=4)
        port = port_of(sample.url)
        load = start_load(sample.url, slow=4)
        pool = stack.enter_context(ThreadPoolExecutor())
        slow = [pool.submit(httpx2.get, f"{sample.url}/slow/2.5", timeout=20) for _ in range(3)]
        streams = [pool.submit(events, sample.url) for _ in range(3)]
        live = [stack.enter_context(connect(f"ws://127.0.0.1:{port}/live")) for _ in range(3)]
        halves = [half(stack, port, "POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf")]
        silent = [half(stack, port, text) for text in ("", "GET /pid HTTP/1.1\r\nHo") for _ in range(20)]
        sample.wait_for_log("body began")
        load.wait_for_responses(REQUESTS)

        sample.signal(signal.SIGTERM)

        load.join()
        codes = [closed_with(socket) for socket in live]
        ends = [stream.result() for stream in streams]
        statuses = [request.result().status_code for request in slow]
        cut = [connection.recv(100)[:12] for connection in halves]
        quiet = [connection.recv(100) for connection in silent]
        code = sample.wait()
        report(
            capsys,
            "SIGTERM with everything open",
            load.summary,
            slow=statuses,
            event_streams=ends,
            WebSockets=codes,
            incomplete_body=cut,
            silent_connections_closed=f"{quiet.count(b'')} of {len(quiet)}",
            exit=code,
        )
        assert load.failures == []
        assert statuses == [200, 200, 200]
        assert ends == ["complete"] * 3
        assert codes == [1012, 1012, 1012]
        # The body was never completed, so the request ended with the grace period.
        assert cut == [b"HTTP/1.1 503"]
        assert quiet == [b""] * 40
        assert code == 0
        assert sample.messages.count("closing database connections") == 2


def events(url: str) -> str:
    """Return how an event stream ended."""
    try:
        with httpx2.stream("GET", f"{url}/events", timeout=20) as stream:
            for _ in stream.iter_text():
                pass
    except httpx2.TransportError as error:
        return repr(error)
    return "complete"


def half(stack: ExitStack, port: int, text: str) -> socket.socket:
    connection = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=20))
    connection.sendall(text.encode())
    return connection


def closed_with(live: Any) -> int:
    assert live.recv(timeout=10) == "hello"
    with pytest.raises(ConnectionClosed) as closed:
        live.recv(timeout=20)
    assert closed.value.rcvd is not None
    code: int = closed.value.rcvd.code
    return code


def test_only_sigquit_stops_immediately_after_a_sigterm(tmp_path: Path, capsys: Any) -> None:
    with sampling(tmp_path) as samples:
        sample = samples.ready(WORKERS=2, DRAIN_DELAY_SECONDS=30)
        port = port_of(sample.url)
        load = start_load(sample.url)
        with ThreadPoolExecutor() as pool:
            stream = pool.submit(events, sample.url)
            load.wait_for_responses(REQUESTS)
            sample.signal(signal.SIGTERM)
            # Two that are pending at the same time would be one.
            sample.wait_for_log("received SIGTERM")
            sample.signal(signal.SIGTERM)
            sample.wait_for_log("received SIGTERM again: already stopping")
            load.join()

            sample.signal(signal.SIGQUIT)

            code = sample.wait(timeout_s=10)
            report(capsys, "SIGTERM twice, SIGQUIT", load.summary, event_stream=stream.result(), exit=code)
        assert load.failures == []
        assert code == 130
        assert is_refused(port)


def catches(pid: int, number: signal.Signals) -> bool:
    """Return whether a process has a handler for a signal."""
    status = Path(f"/proc/{pid}/status").read_text()
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught.split()[1], 16) >> (number - 1) & 1)


MOMENTS: list[float | str] = [
    *(0.0, 0.1, 0.3, 0.6),
    *("starting application", "admin port opened", "process started", "features", "database connected"),
    *("migrations complete", "listening", "workers started"),
]


@pytest.mark.parametrize("moment", MOMENTS)
def test_sigterm_at_any_moment_of_the_start_stops_in_order(
    tmp_path: Path, capsys: Any, moment: float | str
) -> None:
    """From the installation of the handler on; before that, SIGTERM ends the interpreter."""
    with sampling(tmp_path) as samples:
        port = free_port()
        sample = samples.start(WORKERS=2, PORT=port)
        wait_until(lambda: catches(sample.process.pid, signal.SIGTERM))
        if isinstance(moment, str):
            sample.wait_for_log(moment, **({"role": "worker"} if moment == "process started" else {}))
        else:
            # No wait for a fact: the test needs an arbitrary moment.
            at = time.monotonic() + moment
            wait_until(lambda: time.monotonic() >= at)

        sample.signal(signal.SIGTERM)

        before = time.monotonic()
        # The contract is 2 seconds; the machine may be busy.
        code = sample.wait(timeout_s=10)
        took_s = round(time.monotonic() - before, 2)
        report(capsys, f"SIGTERM during the start, at {moment}", exit=code, after_s=took_s)
        assert code == 0, sample.output
        assert "Traceback" not in sample.output
        assert "shutdown complete" in sample.output
        assert is_refused(port)
