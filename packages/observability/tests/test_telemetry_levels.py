"""Levels that change while the service runs."""

import os
import signal
import socket
from typing import Any

import httpx2
import pytest


@pytest.mark.parametrize("workers", [1, 2])
def test_levels_are_read_anew_at_a_sighup(samples: Any, workers: int) -> None:
    levels = samples.directory / "levels"
    levels.write_text("info\n")
    sample = samples.ready(LOG_LEVEL_FILE=levels, WORKERS=workers)
    sample.get("/items/1")
    sample.wait_for_log("item seen")
    assert not sample.found("item looked at")

    levels.write_text("warn,sample=debug\n")
    sample.process.send_signal(signal.SIGHUP)

    def is_heard() -> bool:
        sample.get("/items/2")
        return bool(sample.found("item looked at"))

    samples.wait_until(is_heard, what="debug lines")


def test_levels_that_are_wrong_change_nothing(samples: Any) -> None:
    levels = samples.directory / "levels"
    levels.write_text("info,sample=debug\n")
    sample = samples.ready(LOG_LEVEL_FILE=levels)

    levels.write_text("loud\n")
    sample.process.send_signal(signal.SIGHUP)

    sample.wait_for_log("received SIGHUP")
    samples.wait_until(lambda: "'loud' is not a level" in sample.output or "LOG_LEVEL" in sample.output)
    sample.get("/items/3")
    sample.wait_for_log("item looked at")


def page(sample: Any) -> dict[str, Any]:
    """What `/loggers` says: the levels of main, and those of each worker by its number."""
    told = httpx2.get(f"{sample.admin}/loggers", timeout=30).json()
    workers = {f"worker-{one['index']}": one.get("levels") for one in told["workers"]}
    return {"main": told["main"]["levels"]} | workers


def put(sample: Any, levels: object) -> httpx2.Response:
    return httpx2.put(f"{sample.admin}/loggers", json={"levels": levels}, timeout=30)


def test_loggers_tell_the_level_of_each(samples: Any) -> None:
    sample = samples.ready(LOG_LEVEL="info,sample=debug,_granian=off,asyncio=warn")
    sample.get("/items/1")

    told = httpx2.get(f"{sample.admin}/loggers", timeout=30).json()

    (worker,) = told["workers"]
    assert told["main"]["levels"] == worker["levels"] == "info,sample=debug,_granian=off,asyncio=warn"
    assert {name: worker["loggers"][name] for name in ("sample.app", "_granian", "asyncio")} == {
        "sample.app": "DEBUG",
        "_granian": "OFF",
        "asyncio": "WARN",
    }


def test_levels_cannot_be_set_unless_that_was_allowed(samples: Any) -> None:
    sample = samples.ready()

    answer = put(sample, "debug")

    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")
    assert page(sample) == {"main": "info", "worker-0": "info"}


def test_levels_that_are_set_hold_everywhere_and_for_workers_to_come(samples: Any) -> None:
    sample = samples.ready(LOG_LEVEL_CHANGES="true", WORKERS=2)
    everywhere = {
        "main": "info,sample=debug",
        "worker-0": "info,sample=debug",
        "worker-1": "info,sample=debug",
    }

    answer = put(sample, " info,sample=debug ")

    assert answer.status_code == 200
    assert page(sample) == everywhere
    sample.get("/items/1")
    sample.wait_for_log("item looked at")
    sample.wait_for_log("log levels set", levels="info,sample=debug", level="WARN")

    killed = httpx2.get(f"{sample.admin}/loggers").json()["workers"][0]["worker_pid"]
    os.kill(killed, signal.SIGKILL)
    sample.wait_for_log("log levels applied", levels="info,sample=debug")
    samples.wait_until(lambda: page(sample) == everywhere, what="the levels in the new worker")

    sample.process.send_signal(signal.SIGHUP)
    sample.wait_for_log("workers replaced")
    samples.wait_until(lambda: page(sample) == everywhere, what="the levels after SIGHUP")


def test_what_was_said_last_about_levels_holds(samples: Any) -> None:
    levels = samples.directory / "levels"
    levels.write_text("info\n")
    sample = samples.ready(LOG_LEVEL_FILE=levels, LOG_LEVEL_CHANGES="true")
    put(sample, "debug")

    levels.write_text("warn\n")
    sample.process.send_signal(signal.SIGHUP)

    samples.wait_until(lambda: page(sample) == {"main": "warn", "worker-0": "warn"}, what="those of the file")
    put(sample, "error")
    assert page(sample) == {"main": "error", "worker-0": "error"}


@pytest.mark.parametrize("levels", ["loud", "", None, 7, "info,info"])
def test_levels_that_are_no_levels_are_refused(samples: Any, levels: object) -> None:
    sample = samples.ready(LOG_LEVEL_CHANGES="true")

    answer = put(sample, levels)

    assert answer.status_code == 400
    assert page(sample) == {"main": "info", "worker-0": "info"}


def test_bodies_that_say_nothing_change_nothing(samples: Any) -> None:
    sample = samples.ready(LOG_LEVEL_CHANGES="true")

    for body, status in ((b"", 400), (b"{", 400), (b'{"levels": "info", "x": 1}', 400), (b"x" * 20_000, 413)):
        assert httpx2.put(f"{sample.admin}/loggers", content=body, timeout=30).status_code == status, body[
            :30
        ]
    for size, status in (("9" * 5000, 413), ("-1", 400), ("1e3", 400)):
        with socket.create_connection(sample.admin.removeprefix("http://").split(":"), timeout=30) as client:
            client.sendall(f"PUT /loggers HTTP/1.1\r\nContent-Length: {size}\r\n\r\n".encode())
            assert client.recv(100).startswith(f"HTTP/1.1 {status} ".encode()), size[:10]
    headers = {"X-Forwarded-For": "127.0.0.1"}
    refused = httpx2.put(f"{sample.admin}/loggers", json={"levels": "debug"}, headers=headers, timeout=30)
    assert refused.status_code == 403
    assert page(sample) == {"main": "info", "worker-0": "info"}


def test_a_worker_that_does_not_answer_finds_the_levels_later(samples: Any) -> None:
    sample = samples.ready(LOG_LEVEL_CHANGES="true")
    stopped = httpx2.get(f"{sample.admin}/loggers").json()["workers"][0]["worker_pid"]
    os.kill(stopped, signal.SIGSTOP)
    try:
        answer = put(sample, "debug")
        assert answer.status_code == 202
        assert answer.json()["workers"][0]["error"] == "did not answer within 2 s"
    finally:
        os.kill(stopped, signal.SIGCONT)

    samples.wait_until(lambda: page(sample) == {"main": "debug", "worker-0": "debug"})
