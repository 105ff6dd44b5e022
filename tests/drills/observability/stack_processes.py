"""Prometheus, Alertmanager and a collector as processes, with the deployment's configuration."""

import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx2
import yaml
from starkeel_testing import wait_until

from ...support.programs import find_program, free_port

ROOT = Path(__file__).parents[3]
STACK = ROOT / "deploy" / "observability"
ROTEL = "rotel==0.0.1a15"
_COMPOSE = ROOT / "deploy" / "compose.yaml"
_DISCOVERIES = ("dns_sd_configs", "static_configs")
_LOCAL = {"--storage.tsdb.path", "--storage.path", "--config.file", "--cluster.listen-address"}

Targets = Mapping[str, list[dict[str, Any]]]


class Prometheus:
    """Client of a running Prometheus."""

    def __init__(self, port: int) -> None:
        self.address = f"127.0.0.1:{port}"
        self._client = httpx2.Client(
            base_url=f"http://{self.address}/api/v1", timeout=60, trust_env=False, follow_redirects=True
        )

    def tried(self, expr: str) -> dict[str, Any]:
        """Return the response to an instant query, which may be an error."""
        response: dict[str, Any] = self._client.post("/query", data={"query": expr}).json()
        return response

    def query(self, expr: str) -> list[dict[str, Any]]:
        """Return the series of an instant query."""
        response = self.tried(expr)
        assert response["status"] == "success", f"{expr}: {response}"
        data = response["data"]
        if data["resultType"] == "scalar":
            return [{"metric": {}, "value": data["result"]}]
        series: list[dict[str, Any]] = data["result"]
        return series

    def value(self, expr: str) -> float:
        """Return the sum of a query's series; 0 if there are no series."""
        return sum(float(series["value"][1]) for series in self.query(expr))

    def get(self, path: str, **parameters: str) -> Any:
        """Return the `data` of another endpoint of the API."""
        response = self._client.get(path, params=parameters)
        assert response.status_code == 200, response.text
        return response.json()["data"]

    def wait_for(self, expr: str, *, timeout_s: float = 60.0) -> None:
        """Wait until a query has a series."""
        wait_until(lambda: self.query(expr), timeout_s=timeout_s, what=lambda: f"{expr}\n{self._targets()}")

    def close(self) -> None:
        self._client.close()

    def _targets(self) -> str:
        targets = self.get("/targets")["activeTargets"]
        return "\n".join(f"{each['scrapeUrl']} {each['health']} {each['lastError']}" for each in targets)


@contextmanager
def prometheus(directory: Path, targets: Targets, alertmanager: str) -> Iterator[Prometheus]:
    """Run Prometheus with the deployment's configuration and flags.

    Changed are the addresses of targets, the paths of rules, and the intervals: one second instead of 15.

    Args:
        directory: Folder for its files.
        targets: Groups of targets by job.
        alertmanager: Address of Alertmanager.
    """
    configuration = yaml.safe_load((STACK / "prometheus.yaml").read_text("utf-8"))
    configuration["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    configuration["rule_files"] = [str(_rules(directory))]
    configuration["alerting"]["alertmanagers"] = [{"static_configs": [{"targets": [alertmanager]}]}]
    port = free_port()
    own = {"prometheus": [{"targets": [f"127.0.0.1:{port}"]}]}
    for job in configuration["scrape_configs"]:
        assert any(job.pop(kind, None) for kind in _DISCOVERIES), (
            f"{job} discovers its targets in an unknown way"
        )
        job["static_configs"] = (own | dict(targets)).get(job["job_name"], [])
    file = directory / "prometheus.yaml"
    file.write_text(yaml.safe_dump(configuration))
    command = [find_program("prometheus", package="prometheus"), *_flags("prometheus")]
    command += [f"--config.file={file}", f"--storage.tsdb.path={directory / 'data'}"]
    command += [f"--web.listen-address=127.0.0.1:{port}"]
    client = Prometheus(port)
    with _running(command, directory / "prometheus.log", _is_ready(f"http://127.0.0.1:{port}/-/ready")):
        yield client
        client.close()


@contextmanager
def alertmanager(directory: Path, receiver_url: str) -> Iterator[str]:
    """Run Alertmanager with the deployment's configuration; yield its address.

    Args:
        directory: Folder for its files.
        receiver_url: URL for the notifications of all receivers; the name of the receiver is appended.
    """
    configuration = yaml.safe_load((STACK / "alertmanager.yaml").read_text("utf-8"))
    for receiver in configuration["receivers"]:
        receiver["webhook_configs"] = [{"url": f"{receiver_url}/{receiver['name']}"}]
    for route in configuration["route"]["routes"]:
        route["group_wait"] = "1s"
    # Longer than that of a page, as in the deployment: the first failures are a ticket until there are ten.
    configuration["route"]["group_wait"] = "10s"
    file = directory / "alertmanager.yaml"
    file.write_text(yaml.safe_dump(configuration))
    port = free_port()
    program = find_program("prometheus-alertmanager", "alertmanager", package="prometheus-alertmanager")
    command = [program, *_flags("alertmanager"), f"--config.file={file}", "--cluster.listen-address="]
    command += [f"--storage.path={directory / 'alertmanager'}", f"--web.listen-address=127.0.0.1:{port}"]
    with _running(command, directory / "alertmanager.log", _is_ready(f"http://127.0.0.1:{port}/-/ready")):
        yield f"127.0.0.1:{port}"


@contextmanager
def collector(directory: Path, onward: str) -> Iterator[Mapping[str, str]]:
    """Run Rotel, a collector that is on PyPI.

    Args:
        directory: Folder for its files.
        onward: Endpoint that it exports to, by OTLP over HTTP.

    Yields:
        Its endpoints by protocol.
    """
    # Not a development dependency: it has only pre-releases, each for one version of Python, and 10 MB.
    home = directory / "rotel"
    subprocess.run(["uv", "pip", "install", "--quiet", f"--target={home}", ROTEL], check=True)
    http, grpc = free_port(), free_port()
    command = [str(home / "rotel" / "rotel-agent"), "start", "--exporter", "otlp"]
    command += [f"--otlp-http-endpoint=127.0.0.1:{http}", f"--otlp-grpc-endpoint=127.0.0.1:{grpc}"]
    command += [f"--otlp-exporter-endpoint={onward}", "--otlp-exporter-protocol=http"]
    command += [f"--log-file={directory / 'rotel.log'}", f"--pid-file={directory / 'rotel.pid'}"]
    with _running(command, directory / "collector.log", _accepts(http, grpc)):
        yield {"http/protobuf": f"http://127.0.0.1:{http}", "grpc": f"http://127.0.0.1:{grpc}"}


def rule_files(stack: Path = STACK) -> list[Path]:
    """Return the files of rules, those of the team last."""
    folder = stack / "rules"
    return [*sorted(folder.glob("*.yaml")), *sorted((folder / "team").glob("*.yaml"))]


def _rules(directory: Path) -> Path:
    """Copy the rules without their own intervals."""
    (directory / "rules").mkdir()
    for path in rule_files():
        document = yaml.safe_load(path.read_text("utf-8"))
        for group in document["groups"]:
            group.pop("interval", None)
        (directory / "rules" / f"{path.parent.name}-{path.name}").write_text(yaml.safe_dump(document))
    return directory / "rules" / "*.yaml"


def _flags(service: str) -> list[str]:
    """Return the flags in the compose file, without paths and addresses."""
    given: list[str] = yaml.safe_load(_COMPOSE.read_text("utf-8"))["services"][service]["command"]
    return [flag for flag in given if flag.partition("=")[0] not in _LOCAL]


def _is_ready(url: str) -> Callable[[], bool]:
    def is_ready() -> bool:
        try:
            return httpx2.get(url, timeout=5, trust_env=False).status_code == 200
        except httpx2.TransportError:
            return False

    return is_ready


def _accepts(*ports: int) -> Callable[[], bool]:
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
