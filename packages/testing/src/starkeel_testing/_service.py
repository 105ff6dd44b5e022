"""Services as separate processes, observed from outside."""

import os
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

import httpx2
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from ._leaks import CHECKED, LeakCheck
from ._process.process import Process
from ._process.process_tree import session_processes
from ._process.temporary_directory import temporary_directory
from ._wait import wait_until

_START_S = 60.0
_REQUEST_S = 30.0
_STOP_S = 40.0


class Service:
    """A running service, created by `running`.

    Every wait that fails raises an `AssertionError` with the output of the process.
    """

    def __init__(self, name: str, process: Process, *, certificate: tuple[Path, Path] | None = None) -> None:
        self.name = name
        self._process = process
        self._certificate = certificate
        self._leaks = LeakCheck(name) if name in CHECKED else None

    @property
    def process(self) -> "subprocess.Popen[str]":
        """The main process, which leads its session and process group."""
        return self._process.popen

    @cached_property
    def url(self) -> str:
        """Base URL of the service, like `http://127.0.0.1:41234`."""
        line = self.wait_for_log("listening", timeout_s=_START_S)
        return f"{'https' if line.get('tls') else 'http'}://{line['addr']}"

    @cached_property
    def admin_url(self) -> str:
        """Base URL of its admin port."""
        return f"http://{self.wait_for_log('admin port opened', timeout_s=_START_S)['addr']}"

    @cached_property
    def client(self) -> httpx2.Client:
        """HTTP client of the service with a timeout and kept-alive connections; thread-safe."""
        # Proxies do not apply to this machine, and no known authority signed a test's certificate.
        verify: ssl.SSLContext | bool = self.url.startswith("http:")
        if self._certificate is not None:
            verify = ssl.create_default_context()
            verify.keylog_filename = None  # type: ignore[assignment]  # typeshed has no None, which disables it
            verify.check_hostname, verify.verify_mode = False, ssl.CERT_NONE
            verify.load_cert_chain(*self._certificate)
        client = httpx2.Client if self._leaks is None else partial(_CheckedClient, self._leaks)
        return client(base_url=self.url, timeout=_REQUEST_S, trust_env=False, verify=verify)

    def metrics(self) -> list[Sample]:
        """Return every sample of the admin port's `/metrics`."""
        response = httpx2.get(f"{self.admin_url}/metrics", timeout=_REQUEST_S, trust_env=False)
        assert response.status_code == 200, response.text
        if self._leaks is not None:
            self._leaks.metrics(response.text)
        return [s for family in text_string_to_metric_families(response.text) for s in family.samples]

    def metric(self, name: str, **labels: str) -> float:
        """Return the sum of a metric's series with the given labels, 0.0 if there are none.

        Args:
            name: As exported, like `http_requests_total` or `order_creation_duration_seconds_count`.
            labels: Labels that a series must have; it may have others.
        """
        return sum(
            (s.value for s in self.metrics() if s.name == name and labels.items() <= s.labels.items()), 0.0
        )

    def output(self) -> str:
        """Return the output on stdout and stderr so far."""
        return self._process.output.text()

    def logs(self) -> list[dict[str, Any]]:
        """Return the log lines so far: JSON objects on stdout that have a `message`."""
        return self._process.output.logs()

    def wait_for_log(self, message: str, *, timeout_s: float = 15.0, **fields: Any) -> dict[str, Any]:
        """Wait for a log line with this complete `message` and these fields, and return the first match."""
        expected = {"message": message, **fields}
        return self._wait_for(lambda line: expected.items() <= line.items(), str(expected), timeout_s)

    def wait_for_log_where(
        self, predicate: Callable[[dict[str, Any]], bool], *, timeout_s: float = 15.0
    ) -> dict[str, Any]:
        """Wait for a log line that satisfies a predicate, and return the first match."""
        return self._wait_for(predicate, "a line that satisfies the predicate", timeout_s)

    def _wait_for(
        self, predicate: Callable[[dict[str, Any]], bool], expected: str, timeout_s: float
    ) -> dict[str, Any]:
        line = self._process.output.wait_for_log(predicate, timeout_s=timeout_s)
        code = self.process.poll()
        limit = f"within {timeout_s:g} s" if code is None else f"before it ended with {code}"
        assert line is not None, f"{self.name} did not log {expected} {limit}\n{self.output()}"
        return line

    def terminate(self, timeout_s: float = _STOP_S) -> int:
        """Send SIGTERM, wait for the end and return the exit code."""
        return self._process.terminate(timeout_s)

    def wait(self, timeout_s: float = _STOP_S) -> int:
        """Wait for the end and return the exit code."""
        return self._process.wait(timeout_s)

    def wait_until(self, probe: Literal["ready", "started"], timeout_s: float) -> None:
        """Wait until `/health/ready` or `/health/started` returns 200."""
        self.wait_for_log("listening", timeout_s=timeout_s)

        def passes() -> bool:
            assert self.process.poll() is None, f"{self.name} ended while starting\n{self.output()}"
            try:
                return self.client.get(f"/health/{probe}").status_code == 200
            except httpx2.TransportError:
                return False

        wait_until(passes, timeout_s=timeout_s, what=lambda: f"{self.name} to be {probe}\n{self.output()}")

    def stop(self) -> None:
        """Stop the service with SIGTERM, unless it has ended, and check that it ends cleanly.

        Raises:
            AssertionError: It had zombies, its exit code was not 0, or it left processes behind.
        """
        if self.process.poll() is None:
            if self._leaks is not None:
                self._check_metrics()
            wait_until(
                lambda: not self._zombies(),
                timeout_s=5.0,
                what=lambda: f"zombies {self._zombies()} to be reaped",
            )
            code = self.terminate()
            assert code == 0, f"{self.name} ended with {code}\n{self.output()}"
        left = self._process.remaining()
        assert not left, f"{self.name} left {left}\n{self.output()}"
        if self._leaks is not None:
            self._leaks.output(self.output())
            self._leaks.raise_if_found()

    def close(self) -> None:
        """End the process and release all resources."""
        if "client" in vars(self):
            self.client.close()
        self._process.close()

    def _check_metrics(self) -> None:
        # A service that cannot respond any more has been tested for that.
        with suppress(httpx2.HTTPError, AssertionError):
            self.metrics()

    def _zombies(self) -> list[str]:
        return [process.name for process in session_processes(self.process.pid) if process.is_zombie]


class _CheckedClient(httpx2.Client):
    """Client that passes each exchange to the search for leaks."""

    def __init__(self, leaks: LeakCheck, **options: Any) -> None:
        super().__init__(**options)
        self._leaks = leaks

    def send(self, request: httpx2.Request, *, stream: bool = False, **options: Any) -> httpx2.Response:
        response = super().send(request, stream=stream, **options)
        self._leaks.exchange(request, response, is_complete=not stream)
        return response


@contextmanager
def running(
    service: str,
    env: Mapping[str, str] | None = None,
    *,
    until: Literal["ready", "started"] = "ready",
    timeout_s: float = _START_S,
    certificate: tuple[Path, Path] | None = None,
) -> Iterator[Service]:
    """Run a service as a separate process until the block ends.

    Args:
        service: Module to run as `python -m SERVICE` with the current interpreter.
        env: Variables to set in addition to the defaults that the README lists. Of this process's environment
            only `PATH`, `HOME` and `LANG` are passed on.
        until: State to wait for before the block; `started` for a service that does not become ready.
        timeout_s: Seconds to reach that state.
        certificate: Files of the certificate and its key that `Service.client` presents, for a service with
            `TLS_CLIENT_CA_FILE`.

    Raises:
        AssertionError: The state was not reached, or, after a block without an exception, the exit code on
            SIGTERM was not 0, or processes or temporary files were left. The message contains the output.
    """
    with (
        temporary_directory(f"{service}-") as directory,
        closing(Service(service, _start(service, [], env, directory), certificate=certificate)) as handle,
    ):
        handle.wait_until(until, timeout_s)
        yield handle
        was_stopped_by_the_test = handle.process.poll() is not None
        handle.stop()
        if not was_stopped_by_the_test:
            left = sorted(os.listdir(directory / "tmp"))
            assert not left, f"{service} left temporary files: {left}\n{handle.output()}"


@dataclass(frozen=True)
class Finished:
    """Result of a process that has ended.

    Attributes:
        code: Exit code, or the negative number of the signal that ended it.
        output: Output on stdout and stderr.
    """

    code: int
    output: str


def exits(
    service: str, env: Mapping[str, str] | None = None, *arguments: str, timeout_s: float = _START_S
) -> Finished:
    """Run a service, or one of its commands like `migrate`, that must end by itself; `env` as for `running`.

    Raises:
        AssertionError: It did not end in time, or processes were left.
    """
    with (
        temporary_directory(f"{service}-") as directory,
        closing(_start(service, arguments, env, directory)) as process,
    ):
        code = process.wait(timeout_s)
        left = process.remaining()
        assert not left, f"{service} left {left}\n{process.output.text()}"
        return Finished(code, process.output.text())


def _start(service: str, arguments: Sequence[str], env: Mapping[str, str] | None, directory: Path) -> Process:
    (directory / "tmp").mkdir()
    inherited = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    defaults = {
        "TMPDIR": str(directory / "tmp"),
        "ENVIRONMENT": "development",
        "HOST": "127.0.0.1",
        "PORT": "0",
        "METRICS_HOST": "127.0.0.1",
        "METRICS_PORT": "0",
        "LOG_FORMAT": "json",
        "DRAIN_DELAY_SECONDS": "0",
    }
    command = [sys.executable, "-m", service, *arguments]
    # In the new directory, so that neither a `.env` nor a `.data` of the checkout is found.
    return Process(command, env=inherited | defaults | dict(env or {}), cwd=directory)
