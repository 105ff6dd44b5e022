"""A stalled reader of stdout costs log lines only."""

import json
import os
import re
import signal
import subprocess
import sys
from typing import Any

import httpx2
import pytest

SIZE = 8000


class Stalled:
    """A sample whose stdout is not read any more once it serves."""

    def __init__(self, samples: Any, **env: Any) -> None:
        ours, theirs = os.pipe()
        self.sample = samples.start(popen={"stdout": theirs}, **({"LOG_REPEATS_PER_SECOND": 0} | env))
        os.close(theirs)
        self.pipe = open(ours, "rb")  # noqa: SIM115 - the fixture closes it
        self.lines: list[dict[str, Any]] = []
        self.read_until("workers started")
        self.url = f"http://{self._wait_for('listening')['addr']}"
        self.admin = f"http://{self._wait_for('admin port opened')['addr']}"
        samples.wait_until(lambda: httpx2.get(f"{self.url}/health/ready").status_code == 200)

    def _wait_for(self, message: str) -> dict[str, Any]:
        return next(line for line in self.lines if line["message"] == message)

    def read_until(self, message: str) -> dict[str, Any]:
        while True:
            text = self.pipe.readline()
            assert text, f"ended before {message!r}"
            line: dict[str, Any] = json.loads(text)
            self.lines.append(line)
            if line["message"] == message:
                return line

    def read_to_end(self) -> None:
        self.lines += [json.loads(text) for text in self.pipe]

    def make_noise(self, count: int) -> None:
        response = httpx2.get(f"{self.url}/noise?count={count}&size={SIZE}", timeout=30)
        assert response.status_code == 200

    def metric(self, pattern: str) -> float:
        found = re.search(pattern + r" (\S+)$", httpx2.get(f"{self.admin}/metrics").text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    def dropped(self, level: str) -> float:
        return self.metric(rf'^log_records_dropped_total{{level="{level}"}}')

    @property
    def memory(self) -> float:
        return self.metric(r'^process_resident_memory_bytes{process="worker-0"}')


@pytest.fixture
def stalled(samples: Any) -> Any:
    made = Stalled(samples)
    yield made
    made.pipe.close()


def test_a_stalled_stdout_blocks_no_request_and_drops_the_least_severe_lines(
    samples: Any, stalled: Stalled
) -> None:
    # 80 MB of lines; the pipe holds 64 kB and the queue 4 MB.
    before = stalled.memory
    for _ in range(10):
        stalled.make_noise(500)
        assert httpx2.get(f"{stalled.url}/fails").status_code == 500
        assert httpx2.get(f"{stalled.url}/pid").status_code == 200

    samples.wait_until(lambda: stalled.dropped("INFO") > 4000, what="drops that are counted")
    assert stalled.dropped("ERROR") == 0
    # Ten times as much was logged.
    assert stalled.memory - before < 40_000_000

    report = stalled.read_until("log lines dropped")
    assert report["level"] == "WARN"
    assert report["levels"]["INFO"] == report["count"] == stalled.dropped("INFO")
    stalled.make_noise(1)
    stalled.sample.process.send_signal(signal.SIGTERM)
    stalled.read_to_end()
    assert stalled.sample.wait() == 0
    failed = [line for line in stalled.lines if line["message"] == "request failed"]
    assert len(failed) == 10
    noise = [line for line in stalled.lines if line["message"] == "noise"]
    assert len(noise) + report["count"] >= 5001
    assert [line["message"] for line in stalled.lines].count("log lines dropped") == 1


def test_a_stalled_stdout_does_not_delay_shutdown(stalled: Stalled) -> None:
    stalled.make_noise(500)
    stalled.sample.process.send_signal(signal.SIGTERM)

    assert stalled.sample.wait() == 0


def test_an_immediate_exit_does_not_wait_for_the_reader(samples: Any) -> None:
    stalled = Stalled(samples, SHUTDOWN_GRACE_SECONDS="60", DRAIN_DELAY_SECONDS="60")
    with stalled.pipe:
        stalled.make_noise(500)
        stalled.sample.process.send_signal(signal.SIGTERM)
        samples.wait_until(lambda: httpx2.get(f"{stalled.admin}/ready").json()["status"] == "draining")
        stalled.sample.process.send_signal(signal.SIGQUIT)

        assert stalled.sample.wait() == 130


def test_lines_before_a_crash_are_written(samples: Any) -> None:
    app = samples.directory / "sample" / "app.py"
    app.write_text(
        app.read_text().replace(
            "    return Litestar(",
            "    import atexit\n"
            "    atexit.register(log.info, 'the very last')\n"
            "    for number in range(2000):\n        log.info('before the crash', number=number)\n"
            "    raise MemoryError('all is lost')\n"
            "    return Litestar(",
        )
        + "\n\nif __name__ == '__main__':\n"
        "    from starkeel_observability import ObservabilitySettings\n"
        "    settings = ObservabilitySettings(service_name='sample', service_version='1')\n"
        "    settings.main_process().start_process(role='main', index=0, workers=1)\n"
        "    create_app(None)\n"
    )
    done = subprocess.run([sys.executable, str(app)], capture_output=True, check=False, timeout=60)

    assert done.returncode == 1
    messages = [json.loads(line)["message"] for line in done.stdout.splitlines()]
    assert messages.count("before the crash") == 2000
    assert messages[-2:] == ["uncaught exception", "the very last"]
