"""Change of log levels at run time."""

import os
import signal
import socket
from typing import Any

import httpx2
import pytest


@pytest.mark.parametrize("workers", [1, 2])
def test_levels_are_reloaded_at_sighup(samples: Any, workers: int) -> None:
    levels = samples.directory / "levels"
    levels.write_text("info\n")
    sample = samples.ready(LOG_LEVEL_FILE=levels, WORKERS=workers)
    sample.get("/items/1")
    sample.wait_for_log("item seen")
    assert not sample.found("item looked at")

    levels.write_text("warn,sample=debug\n")
    sample.process.send_signal(signal.SIGHUP)

    def is_reported() -> bool:
        sample.get("/items/2")
        return bool(sample.found("item looked at"))

    samples.wait_until(is_reported, what="debug lines")


def test_invalid_levels_change_nothing_at_sighup(samples: Any) -> None:
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
    """Return the levels of main and of each worker, from `/loggers`."""
    response = httpx2.get(f"{sample.admin}/loggers", timeout=30).json()
    workers = {f"worker-{worker['index']}": worker.get("levels") for worker in response["workers"]}
    return {"main": response["main"]["levels"]} | workers


def put(sample: Any, levels: object) -> httpx2.Response:
    return httpx2.put(f"{sample.admin}/loggers", json={"levels": levels}, timeout=30)


def test_loggers_have_their_levels(samples: Any) -> None:
    sample = samples.ready(LOG_LEVEL="info,sample=debug,_granian=off,asyncio=warn")
    sample.get("/items/1")

    response = httpx2.get(f"{sample.admin}/loggers", timeout=30).json()

    (worker,) = response["workers"]
    assert response["main"]["levels"] == worker["levels"] == "info,sample=debug,_granian=off,asyncio=warn"
    assert {name: worker["loggers"][name] for name in ("sample.app", "_granian", "asyncio")} == {
        "sample.app": "DEBUG",
        "_granian": "OFF",
        "asyncio": "WARN",
    }


def test_levels_cannot_be_set_by_default(samples: Any) -> None:
    sample = samples.ready()

    response = put(sample, "debug")

    assert (response.status_code, response.headers["allow"]) == (405, "GET, HEAD")
    assert page(sample) == {"main": "info", "worker-0": "info"}


def test_set_levels_apply_to_all_and_to_new_workers(samples: Any) -> None:
    sample = samples.ready(LOG_LEVEL_CHANGES="true", WORKERS=2)
    everywhere = {
        "main": "info,sample=debug",
        "worker-0": "info,sample=debug",
        "worker-1": "info,sample=debug",
    }

    response = put(sample, " info,sample=debug ")

    assert response.status_code == 200
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


def test_the_latest_change_of_levels_applies(samples: Any) -> None:
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
def test_invalid_levels_are_rejected(samples: Any, levels: object) -> None:
    sample = samples.ready(LOG_LEVEL_CHANGES="true")

    response = put(sample, levels)

    assert response.status_code == 400
    assert page(sample) == {"main": "info", "worker-0": "info"}


def test_invalid_bodies_change_nothing(samples: Any) -> None:
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


def test_a_stalled_worker_gets_the_levels_later(samples: Any) -> None:
    sample = samples.ready(LOG_LEVEL_CHANGES="true")
    stopped = httpx2.get(f"{sample.admin}/loggers").json()["workers"][0]["worker_pid"]
    os.kill(stopped, signal.SIGSTOP)
    try:
        response = put(sample, "debug")
        assert response.status_code == 202
        assert response.json()["workers"][0]["error"] == "did not answer within 2 s"
    finally:
        os.kill(stopped, signal.SIGCONT)

    samples.wait_until(lambda: page(sample) == {"main": "debug", "worker-0": "debug"})
