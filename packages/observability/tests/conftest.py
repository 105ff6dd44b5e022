"""A sample service, run as its own process, and a collector that receives its spans."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

SAMPLE = Path(__file__).parent / "sample_app.py.txt"

MAIN = """
from starkeel_server import Service, run

SERVICE = Service(name="sample", settings="sample.settings:AllSettings", app="sample.app:create_app")
if __name__ == "__main__":
    run(SERVICE)
"""

SETTINGS = '''
from starkeel_config import ServiceSettings
from starkeel_observability import ObservabilitySettings
from starkeel_server import ServerSettings


class AllSettings(ServiceSettings, frozen=True, kw_only=True):
    """The sample."""

    observability: ObservabilitySettings
    server: ServerSettings
'''

WAIT_S = 60.0


def wait_until(condition: Callable[[], Any], *, what: object = "", timeout_s: float = WAIT_S) -> Any:
    """Wait until the function returns a true value and return that."""
    until = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < until, f"waited {timeout_s} s for {what or condition}"
        # Polling interval.
        threading.Event().wait(0.02)
    return found


class Sample:
    """A process of the sample service."""

    def __init__(self, command: list[str], env: dict[str, str], cwd: Path, **popen: Any) -> None:
        popen.setdefault("stdout", subprocess.PIPE)
        self.process = subprocess.Popen(command, env=env, cwd=cwd, stderr=subprocess.PIPE, **popen)
        self.lines: list[str] = []
        self.errors: list[str] = []
        self._threads: list[threading.Thread] = []
        for stream, into in ((self.process.stdout, self.lines), (self.process.stderr, self.errors)):
            if stream is not None:
                self.collect(stream, into)

    def collect(self, stream: Any, into: list[str]) -> threading.Thread:
        """Collect the lines of a stream."""

        def run() -> None:
            into.extend(line.decode() for line in stream)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        self._threads.append(thread)
        return thread

    @property
    def logs(self) -> list[dict[str, Any]]:
        """All lines, each of which must be JSON."""
        return [json.loads(line) for line in list(self.lines)]

    @property
    def output(self) -> str:
        return "".join(self.lines + self.errors)

    def found(self, message: str, **fields: Any) -> list[dict[str, Any]]:
        return [line for line in self.logs if line["message"] == message and fields.items() <= line.items()]

    def wait_for_log(self, message: str, *, count: int = 1, **fields: Any) -> dict[str, Any]:
        def enough() -> list[dict[str, Any]]:
            ended = self.process.poll() is not None
            hits = self.found(message, **fields)
            assert len(hits) >= count or not ended, f"ended with {self.process.returncode}"
            return hits if len(hits) >= count else []

        try:
            line: dict[str, Any] = wait_until(enough, what=(message, fields))[count - 1]
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.output}") from None
        return line

    @property
    def url(self) -> str:
        return f"http://{self.wait_for_log('listening')['addr']}"

    @property
    def admin(self) -> str:
        return f"http://{self.wait_for_log('admin port opened')['addr']}"

    def wait_until_ready(self) -> "Sample":
        self.wait_for_log("workers started")
        wait_until(lambda: httpx2.get(f"{self.url}/health/ready").status_code == 200, what="ready")
        return self

    def get(self, path: str, **headers: str) -> httpx2.Response:
        return httpx2.get(self.url + path, headers=headers)

    def metric(self, name: str, **labels: str) -> float:
        """Return the sum of the samples with a name and labels."""
        total = 0.0
        for sample in re.finditer(
            rf"^{name}(?:{{(.*)}})? (\S+)$", httpx2.get(f"{self.admin}/metrics").text, re.MULTILINE
        ):
            having = dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', sample[1] or ""))
            total += float(sample[2]) if labels.items() <= having.items() else 0.0
        return total

    def wait_for_metric(self, value: float, name: str, **labels: str) -> None:
        wait_until(lambda: self.metric(name, **labels) == value, what=(name, labels, value))

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.wait()

    def wait(self) -> int:
        code = self.process.wait(WAIT_S)
        for thread in self._threads:
            thread.join(5)
        return code

    def close(self) -> None:
        if self.process.poll() is None:
            # Two different signals: two of the same may be merged.
            self.process.send_signal(signal.SIGTERM)
            self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self.wait()
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()


class Samples:
    """Starts processes of the sample service."""

    wait_until = staticmethod(wait_until)

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self.directory = directory
        self._stack = stack
        package = directory / "sample"
        package.mkdir()
        texts = {"__init__": "", "settings": SETTINGS, "__main__": MAIN, "app": SAMPLE.read_text()}
        for name, text in texts.items():
            (package / f"{name}.py").write_text(text)

    def start(self, *arguments: str, popen: dict[str, Any] | None = None, **env: Any) -> Sample:
        base = {key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ}
        environ = {
            **base,
            "TMPDIR": str(self.directory),
            "HOST": "127.0.0.1",
            "METRICS_HOST": "127.0.0.1",
            "PORT": "0",
            "METRICS_PORT": "0",
            "DRAIN_DELAY_SECONDS": "0",
            "SHUTDOWN_GRACE_SECONDS": "5",
            "OTEL_BSP_SCHEDULE_DELAY": "100",
            **{name: str(value) for name, value in env.items()},
        }
        command = [sys.executable, "-m", "sample", *arguments]
        sample = Sample(command, environ, self.directory, **(popen or {}))
        self._stack.callback(sample.close)
        return sample

    def ready(self, **env: Any) -> Sample:
        return self.start(**env).wait_until_ready()


@pytest.fixture
def samples(tmp_path: Path) -> Iterator[Samples]:
    with ExitStack() as stack:
        yield Samples(tmp_path, stack)


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sample]:
    """A sample shared by the tests of a module."""
    with ExitStack() as stack:
        yield Samples(tmp_path_factory.mktemp("shared"), stack).ready(LOG_LEVEL="info,sample=debug")


class Collector:
    """Receives spans by OTLP over HTTP."""

    def __init__(self) -> None:
        self.spans: list[dict[str, Any]] = []
        self.requests: list[dict[str, str]] = []
        self.status = 200
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                collector.requests.append(
                    {"path": self.path, **{k.lower(): v for k, v in self.headers.items()}}
                )
                if collector.status == 200:
                    collector.spans += _spans(body)
                self.send_response(collector.status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"

    def wait_for(self, **expected: Any) -> dict[str, Any]:
        """Wait for a span with these values."""

        def found() -> dict[str, Any] | None:
            return next((span for span in list(self.spans) if expected.items() <= span.items()), None)

        span: dict[str, Any] = wait_until(found, what=expected)
        return span

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _spans(body: bytes) -> list[dict[str, Any]]:
    received = ExportTraceServiceRequest.FromString(body)
    return [
        {
            "name": span.name,
            "kind": span.kind,
            "trace_id": span.trace_id.hex(),
            "span_id": span.span_id.hex(),
            "parent_span_id": span.parent_span_id.hex(),
            "status": span.status.code,
            "events": [{"name": event.name, **_attributes(event)} for event in span.events],
            "resource": _attributes(resource.resource),
            "attributes": _attributes(span),
        }
        for resource in received.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def _attributes(holder: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in holder.attributes}


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    yield made
    made.close()
