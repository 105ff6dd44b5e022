"""Prometheus and Alertmanager as processes, with the deployment's own configuration."""

import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx2
import yaml
from starkeel_testing import wait_until

ROOT = Path(__file__).parents[3]
STACK = ROOT / "deploy" / "observability"
ROTEL = "rotel==0.0.1a15"
_COMPOSE = ROOT / "deploy" / "compose.yaml"
_DISCOVERIES = ("dns_sd_configs", "static_configs")
_LOCAL = {"--storage.tsdb.path", "--storage.path", "--config.file", "--cluster.listen-address"}

Targets = Mapping[str, list[dict[str, Any]]]


def program(*names: str, package: str) -> str:
    """Return where a program is, by the first of its names that there is."""
    found = next(filter(None, map(shutil.which, names)), None)
    assert found is not None, (
        f"{names[0]} is not installed: apt-get install --no-install-recommends {package}"
    )
    return found


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port: int = reserved.getsockname()[1]
    return port


class Prometheus:
    """A running Prometheus.

    Args:
        port: Where it listens.
    """

    def __init__(self, port: int) -> None:
        self.address = f"127.0.0.1:{port}"
        self._client = httpx2.Client(
            base_url=f"http://{self.address}/api/v1", timeout=60, trust_env=False, follow_redirects=True
        )

    def tried(self, expr: str) -> dict[str, Any]:
        """Return what Prometheus answers to an instant query, be it an error."""
        answer: dict[str, Any] = self._client.post("/query", data={"query": expr}).json()
        return answer

    def query(self, expr: str) -> list[dict[str, Any]]:
        """Return the series of an instant query."""
        answer = self.tried(expr)
        assert answer["status"] == "success", f"{expr}: {answer}"
        data = answer["data"]
        if data["resultType"] == "scalar":
            return [{"metric": {}, "value": data["result"]}]
        series: list[dict[str, Any]] = data["result"]
        return series

    def value(self, expr: str) -> float:
        """Return the sum of a query's series, 0 for none."""
        return sum(float(series["value"][1]) for series in self.query(expr))

    def get(self, path: str, **parameters: str) -> Any:
        """Return the `data` of any other page of the interface."""
        answer = self._client.get(path, params=parameters)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    def wait_for(self, expr: str, *, timeout_s: float = 60.0) -> None:
        """Wait until a query has a series."""
        wait_until(lambda: self.query(expr), timeout_s=timeout_s, what=lambda: f"{expr}\n{self._targets()}")

    def close(self) -> None:
        self._client.close()

    def _targets(self) -> str:
        found = self.get("/targets")["activeTargets"]
        return "\n".join(f"{one['scrapeUrl']} {one['health']} {one['lastError']}" for one in found)


@contextmanager
def prometheus(directory: Path, targets: Targets, alertmanager: str) -> Iterator[Prometheus]:
    """Run Prometheus as the compose file does, on what runs here.

    The configuration is the deployment's but for what follows: where targets and rules are, and that it
    scrapes and evaluates every second instead of every fifteen.

    Args:
        directory: For its files.
        targets: Groups of targets by the name of their job.
        alertmanager: Where alerts go.
    """
    configuration = yaml.safe_load((STACK / "prometheus.yaml").read_text("utf-8"))
    configuration["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    configuration["rule_files"] = [str(_rules(directory))]
    configuration["alerting"]["alertmanagers"] = [{"static_configs": [{"targets": [alertmanager]}]}]
    port = free_port()
    own = {"prometheus": [{"targets": [f"127.0.0.1:{port}"]}]}
    for job in configuration["scrape_configs"]:
        assert any(job.pop(kind, None) for kind in _DISCOVERIES), f"{job} finds its targets in another way"
        job["static_configs"] = (own | dict(targets)).get(job["job_name"], [])
    file = directory / "prometheus.yaml"
    file.write_text(yaml.safe_dump(configuration))
    command = [program("prometheus", package="prometheus"), *_flags("prometheus"), f"--config.file={file}"]
    command += [f"--storage.tsdb.path={directory / 'data'}", f"--web.listen-address=127.0.0.1:{port}"]
    one = Prometheus(port)
    with _running(command, directory / "prometheus.log", _answers(f"http://127.0.0.1:{port}/-/ready")):
        yield one
        one.close()


@contextmanager
def alertmanager(directory: Path, inbox: str) -> Iterator[str]:
    """Run Alertmanager as the compose file does; what every receiver gets is posted to an inbox.

    Args:
        directory: For its files.
        inbox: URL; the name of the receiver is added.
    """
    configuration = yaml.safe_load((STACK / "alertmanager.yaml").read_text("utf-8"))
    for receiver in configuration["receivers"]:
        receiver["webhook_configs"] = [{"url": f"{inbox}/{receiver['name']}"}]
    for route in (configuration["route"], *configuration["route"]["routes"]):
        route["group_wait"] = "1s"
    file = directory / "alertmanager.yaml"
    file.write_text(yaml.safe_dump(configuration))
    port = free_port()
    name = program("prometheus-alertmanager", "alertmanager", package="prometheus-alertmanager")
    command = [name, *_flags("alertmanager"), f"--config.file={file}", "--cluster.listen-address="]
    command += [f"--storage.path={directory / 'alertmanager'}", f"--web.listen-address=127.0.0.1:{port}"]
    with _running(command, directory / "alertmanager.log", _answers(f"http://127.0.0.1:{port}/-/ready")):
        yield f"127.0.0.1:{port}"


@contextmanager
def collector(directory: Path, onward: str) -> Iterator[Mapping[str, str]]:
    """Run a collector that can be had as a wheel, which passes spans on.

    Args:
        directory: For its files.
        onward: Where to, by OTLP over HTTP.

    Yields:
        Where it takes spans, by protocol.
    """
    # In a folder of its own: there are only pre-releases, each for one version of Python, and it takes 10 MB.
    home = directory / "rotel"
    subprocess.run(["uv", "pip", "install", "--quiet", f"--target={home}", ROTEL], check=True)
    http, grpc = free_port(), free_port()
    command = [str(home / "rotel" / "rotel-agent"), "start", "--exporter", "otlp"]
    command += [f"--otlp-http-endpoint=127.0.0.1:{http}", f"--otlp-grpc-endpoint=127.0.0.1:{grpc}"]
    command += [f"--otlp-exporter-endpoint={onward}", "--otlp-exporter-protocol=http"]
    command += [f"--log-file={directory / 'rotel.log'}", f"--pid-file={directory / 'rotel.pid'}"]
    with _running(command, directory / "collector.log", _listen(http, grpc)):
        yield {"http/protobuf": f"http://127.0.0.1:{http}", "grpc": f"http://127.0.0.1:{grpc}"}


def _rules(directory: Path) -> Path:
    """Copy the rules, evaluated as often as everything is: groups have intervals of their own."""
    (directory / "rules").mkdir()
    for path in (STACK / "rules").glob("*.yaml"):
        document = yaml.safe_load(path.read_text("utf-8"))
        for group in document["groups"]:
            group.pop("interval", None)
        (directory / "rules" / path.name).write_text(yaml.safe_dump(document))
    return directory / "rules" / "*.yaml"


def _flags(service: str) -> list[str]:
    """What the compose file starts it with, but for places."""
    given: list[str] = yaml.safe_load(_COMPOSE.read_text("utf-8"))["services"][service]["command"]
    return [flag for flag in given if flag.partition("=")[0] not in _LOCAL]


def _answers(url: str) -> Callable[[], bool]:
    def is_ready() -> bool:
        try:
            return httpx2.get(url, timeout=5, trust_env=False).status_code == 200
        except httpx2.TransportError:
            return False

    return is_ready


def _listen(*ports: int) -> Callable[[], bool]:
    def is_ready() -> bool:
        with ExitStack() as stack, suppress(OSError):
            for port in ports:
                stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=5))
            return True
        return False

    return is_ready


@contextmanager
def _running(command: list[str], log: Path, is_ready: Callable[[], bool]) -> Iterator[None]:
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:

        def is_up() -> bool:
            assert process.poll() is None, log.read_text()
            return is_ready()

        wait_until(is_up, timeout_s=60, what=lambda: f"{command[0]} to be ready\n{log.read_text()}")
        yield
    finally:
        process.terminate()
        process.wait(30)
