"""Output of log lines: not interleaved, readable at a terminal, and never blocking a request."""

import os
import pty
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2


def test_lines_of_several_workers_are_not_interleaved(samples: Any) -> None:
    sample = samples.ready(WORKERS=2, LOG_REPEATS_PER_SECOND=0)
    # Less than the queue of a worker holds.
    clients, count = 8, 150
    expected = 0

    def make_noise(number: int) -> None:
        # Half of them are longer than PIPE_BUF.
        size = 6000 if number % 2 else 10
        httpx2.get(f"{sample.url}/noise?count={count}&size={size}", timeout=60).raise_for_status()

    # The kernel may distribute connections unevenly.
    while len({line["worker"] for line in sample.found("noise")}) < 2:
        with ThreadPoolExecutor(clients) as pool:
            list(pool.map(make_noise, range(clients)))
        expected += clients * count
        sample.wait_for_log("noise", count=expected)

    assert sample.stop() == 0
    assert len(sample.found("noise")) == expected


def test_output_is_pretty_at_a_terminal_in_development(samples: Any) -> None:
    text = _at_a_terminal(samples, ENVIRONMENT="development")

    assert re.search(r"\x1b\[32mINFO \x1b\[0m \x1b\[1mlistening\x1b\[0m", text)
    assert "addr=" in text
    assert '{"timestamp"' not in text
    assert "Traceback (most recent call last)" in text
    assert "b***@example.com cannot pay" in text


def test_output_is_json_at_a_terminal_in_production(samples: Any) -> None:
    assert '{"timestamp"' in _at_a_terminal(samples)


def test_an_explicit_format_takes_precedence(samples: Any) -> None:
    assert '{"timestamp"' in _at_a_terminal(samples, ENVIRONMENT="development", LOG_FORMAT="json")


def test_output_is_json_on_a_pipe_in_development(samples: Any) -> None:
    sample = samples.ready(ENVIRONMENT="development")

    assert sample.wait_for_log("starting application")["environment"] == "development"


def test_pretty_lines_on_a_pipe_have_no_colours_and_escape_controls(samples: Any) -> None:
    sample = samples.start(LOG_FORMAT="pretty")
    samples.wait_until(lambda: "workers started" in sample.output, what="workers started")
    url = re.search(r"listening .*addr=(\S+)", sample.output)
    assert url is not None
    httpx2.get(f"http://{url[1]}/logs")

    samples.wait_until(lambda: "loop trouble" in sample.output, what="loop trouble")
    assert "\x1b" not in sample.output
    assert "\x9b" not in sample.output
    assert "email=a***@example.com" in sample.output
    assert "hunter2" not in sample.output


def test_serving_continues_after_the_reader_of_stdout_exits(samples: Any) -> None:
    ours, theirs = os.pipe()
    sample = samples.start(popen={"stdout": theirs})
    os.close(theirs)
    is_leaving = threading.Event()
    reader = sample.collect(_until(is_leaving, ours), sample.lines)
    url, admin = sample.url, sample.admin
    sample.wait_until_ready()
    is_leaving.set()

    for _ in range(3):
        assert httpx2.get(f"{url}/logs").status_code == 200
    reader.join(10)
    assert not reader.is_alive()
    assert httpx2.get(f"{url}/logs").status_code == 200
    samples.wait_until(
        lambda: 'path="/logs",status="200"} 4.0' in httpx2.get(f"{admin}/metrics").text, what="four counted"
    )


def test_serving_works_without_stdout(samples: Any) -> None:
    with httpx2.Client() as client:
        port = _free_port()
        samples.start(popen={"stdout": None, "preexec_fn": lambda: os.close(1)}, PORT=port)

        def responds() -> bool:
            try:
                return client.get(f"http://127.0.0.1:{port}/logs").status_code == 200
            except httpx2.TransportError:
                return False

        samples.wait_until(responds, what="a response")

        # Again, as by now the first lines could not be written.
        assert client.get(f"http://127.0.0.1:{port}/logs").status_code == 200


def _until(is_leaving: threading.Event, descriptor: int) -> Iterator[bytes]:
    """Yield the lines of a pipe until the event is set, then close it with data unread."""
    with open(descriptor, "rb", buffering=0) as pipe:
        for line in pipe:
            yield line
            if is_leaving.is_set():
                return


def _free_port() -> int:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def _at_a_terminal(samples: Any, **env: str) -> str:
    """Return the output at a terminal for a start, a failing request and a stop."""
    ours, theirs = pty.openpty()
    sample = samples.start(popen={"stdout": theirs}, **env)
    os.close(theirs)
    shown: list[str] = []
    sample.collect(_terminal(ours), shown)
    samples.wait_until(lambda: "workers started" in "".join(shown), what="workers started")
    url = re.search(r"listening.*?(127\.0\.0\.1:\d+)", "".join(shown))
    assert url is not None
    httpx2.get(f"http://{url[1]}/fails")
    assert sample.stop() == 0
    os.close(ours)
    return "".join(shown)


def _terminal(descriptor: int) -> Any:
    # Reading a terminal whose other side is closed is an error, not end of file.
    while True:
        try:
            yield os.read(descriptor, 4096)
        except OSError:
            return


def test_closed_standard_streams_are_not_reused_for_sockets(samples: Any) -> None:
    def without_streams() -> None:
        for descriptor in range(3):
            os.close(descriptor)

    target = samples.directory / "streams"
    app = samples.directory / "sample" / "app.py"
    links = "{n: os.readlink(f'/proc/{p}/fd/{n}') for p in (os.getpid(), os.getppid()) for n in range(3)}"
    write = f"open('written', 'w').write(str({links}))\nos.rename('written', 'streams')\n"
    app.write_text(app.read_text() + write)
    sample = samples.start(popen={"preexec_fn": without_streams})

    samples.wait_until(target.exists)

    assert target.read_text() == str(dict.fromkeys(range(3), "/dev/null"))
    assert sample.stop() == 0
