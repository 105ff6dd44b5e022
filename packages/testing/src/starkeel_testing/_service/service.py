"""A service as its own process, and what can be seen of it from outside."""

import subprocess
from collections.abc import Callable
from functools import cached_property
from typing import Any, Literal

import httpx2
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from .._process.process import Process
from .._process.process_tree import members
from .._wait import wait_until

_REQUEST_S = 30.0
_STOP_S = 40.0


class Service:
    """A running service; `running` makes one.

    Every wait ends with an `AssertionError` that holds the output of the process.
    """

    def __init__(self, name: str, process: Process) -> None:
        self.name = name
        self._process = process

    @property
    def process(self) -> "subprocess.Popen[str]":
        """The main process, for signals and its exit code; it leads its session and process group."""
        return self._process.popen

    @cached_property
    def url(self) -> str:
        """Where it serves, like `http://127.0.0.1:41234`."""
        line = self.wait_for_log("listening", timeout_s=60.0)
        return f"{'https' if line.get('tls') else 'http'}://{line['addr']}"

    @cached_property
    def admin_url(self) -> str:
        """Where its admin port is."""
        return f"http://{self.wait_for_log('admin port opened', timeout_s=60.0)['addr']}"

    @cached_property
    def client(self) -> httpx2.Client:
        """A client of the service with kept-alive connections and a timeout; threads may share it."""
        # Not by way of a proxy: it is this machine that is asked. Nobody known signed a test's certificate.
        is_plain = self.url.startswith("http:")
        return httpx2.Client(base_url=self.url, timeout=_REQUEST_S, trust_env=False, verify=is_plain)

    def metrics(self) -> list[Sample]:
        """Read every sample on the admin port's `/metrics`."""
        answer = httpx2.get(f"{self.admin_url}/metrics", timeout=_REQUEST_S, trust_env=False)
        assert answer.status_code == 200, answer.text
        families = text_string_to_metric_families(answer.text)
        return [sample for family in families for sample in family.samples]

    def metric(self, name: str, **labels: str) -> float:
        """Add up the series of one metric.

        Args:
            name: As exported, like `http_requests_total` or `order_creation_duration_seconds_count`.
            labels: Those that a series must have; it may have others. With none that fits the sum is 0.0.
        """
        return float(
            sum(
                sample.value
                for sample in self.metrics()
                if sample.name == name and labels.items() <= sample.labels.items()
            )
        )

    def output(self) -> str:
        """Return everything said on stdout and stderr so far."""
        return self._process.output.text()

    def logs(self) -> list[dict[str, Any]]:
        """Return the log lines so far: JSON objects on stdout that have a `message`."""
        return self._process.output.logs()

    def wait_for_log(self, message: str, *, timeout_s: float = 15.0, **fields: Any) -> dict[str, Any]:
        """Return the first log line with that message and those fields, waiting for it.

        Args:
            message: The whole `message`.
            timeout_s: Seconds to wait.
            fields: Others that the line must have, with these values.

        Raises:
            AssertionError: It did not come in time.
        """
        wanted = {"message": message, **fields}
        return self._first(lambda line: wanted.items() <= line.items(), str(wanted), timeout_s)

    def wait_for_log_where(
        self, predicate: Callable[[dict[str, Any]], bool], *, timeout_s: float = 15.0
    ) -> dict[str, Any]:
        """Return the first log line that the predicate is true for, waiting for it.

        Raises:
            AssertionError: It did not come in time.
        """
        return self._first(predicate, "a line as asked for", timeout_s)

    def terminate(self, timeout_s: float = _STOP_S) -> int:
        """Send SIGTERM, wait for the end and return the exit code."""
        return self._process.terminate(timeout_s)

    def wait(self, timeout_s: float = _STOP_S) -> int:
        """Wait for the end and return the exit code."""
        return self._process.wait(timeout_s)

    def wait_until(self, probe: Literal["ready", "started"], timeout_s: float) -> None:
        """Wait until a health endpoint, `/health/ready` or `/health/started`, is 200.

        Raises:
            AssertionError: It is not in time, or the process has ended.
        """
        self.wait_for_log("listening", timeout_s=timeout_s)

        def passes() -> bool:
            assert self.process.poll() is None, f"{self.name} ended while starting\n{self.output()}"
            return self._passes(probe)

        wait_until(passes, timeout_s=timeout_s, what=lambda: f"{self.name} to be {probe}\n{self.output()}")

    def stop(self) -> None:
        """End it as an operator would, and insist that it ends well and leaves no process behind.

        Raises:
            AssertionError: It had zombies, did not end with 0, or left processes.
        """
        if self.process.poll() is None:
            wait_until(
                lambda: not self._zombies(),
                timeout_s=5.0,
                what=lambda: f"zombies {self._zombies()} to be buried",
            )
            code = self.terminate()
            assert code == 0, f"{self.name} ended with {code}\n{self.output()}"
        left = self._process.left()
        assert not left, f"{self.name} left {left}\n{self.output()}"

    def close(self) -> None:
        """End whatever is still there."""
        if "client" in vars(self):
            self.client.close()
        self._process.close()

    def _zombies(self) -> list[str]:
        return [member.name for member in members(self.process.pid) if member.is_zombie]

    def _passes(self, probe: str) -> bool:
        try:
            return self.client.get(f"/health/{probe}").status_code == 200
        except httpx2.TransportError:
            return False

    def _first(
        self, predicate: Callable[[dict[str, Any]], bool], what: str, timeout_s: float
    ) -> dict[str, Any]:
        line = self._process.output.wait_for_log(predicate, timeout_s=timeout_s)
        code = self.process.poll()
        how = f"within {timeout_s:g} s" if code is None else f"before it ended with {code}"
        assert line is not None, f"{self.name} did not log {what} {how}\n{self.output()}"
        return line
