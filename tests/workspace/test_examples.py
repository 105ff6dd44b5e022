"""The examples, each in an environment of its own with the packages' wheels."""

import json
import re
import shutil
import sys
import tomllib
import zipfile
from collections.abc import Callable
from email.parser import Parser
from functools import cache
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starkeel_testing import OtlpReceiver, wait_until

from tests.support.asgi_servers import Served, served
from tests.support.wheels import UV, run
from tools.examples import EXAMPLES, names
from tools.generate.adoption import STEPS, Step

Installed = Callable[[str], Path]
WAIT_S = 60.0


@pytest.fixture(scope="module")
def installed(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Return a function that copies an example, installs what its lock has, and returns the copy."""
    base = tmp_path_factory.mktemp("examples")
    (base / "wheels").symlink_to(wheels)

    @cache
    def install(name: str) -> Path:
        directory = base / name
        skipped = shutil.ignore_patterns(".venv", "__pycache__", ".pytest_cache", "*.db")
        shutil.copytree(EXAMPLES / name, directory, ignore=skipped)
        run([UV, "sync", "--quiet", "--locked", "--python", sys.executable], cwd=directory)
        return directory

    return install


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", names())
def test_its_own_tests_pass(name: str, installed: Installed) -> None:
    directory = installed(name)
    output = run([directory / ".venv/bin/python", "-m", "pytest", "-q"], cwd=directory)

    assert re.search(r"^\d+ passed", output, re.MULTILINE), output


@pytest.mark.parametrize("server", ["uvicorn", "granian", "litestar"])
@pytest.mark.parametrize("name", ["1-observability", "2-http"])
def test_a_server_of_the_user_has_telemetry(
    name: str, server: str, installed: Installed, otlp: OtlpReceiver
) -> None:
    directory = installed(name)
    env = {
        "DATABASE_URL": f"sqlite+aiosqlite:///{directory}/{server}.db",
        "OTEL_EXPORTER_OTLP_ENDPOINT": otlp.endpoint,
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }
    python = directory / ".venv/bin/python"
    with served(server, "shop.app:create_app", directory, env, python=python, is_factory=True) as shop:
        added = httpx2.post(f"{shop.url}/books", json={"title": "Emma", "price": "8.00"})
        assert (added.status_code, httpx2.get(f"{shop.url}/nowhere").status_code) == (201, 404)
        _check_the_line_and_the_trace(shop, added, otlp)
        _check_the_metrics(shop)
        _check_the_error(shop, is_problem=name != "1-observability")
        assert shop.stop() in {0, -15}  # uvicorn ends itself by the signal
    plain = [line for line in shop.output.splitlines() if not line.startswith("{")]
    assert not [line for line in plain if "/books" in line or "Traceback" in line], plain


def _check_the_line_and_the_trace(shop: Served, added: httpx2.Response, otlp: OtlpReceiver) -> None:
    line = _wait_for_line(shop, "request completed", route="/books", status=201)
    assert line["request_id"] == added.headers["X-Request-ID"]
    assert _wait_for_line(shop, "added Emma")["trace_id"] == line["trace_id"]
    [span] = otlp.wait_for(lambda spans: len(spans) == 1, trace_id=line["trace_id"], timeout_s=WAIT_S)
    assert (span.name, span.service) == ("POST /books", "shop")


def _check_the_metrics(shop: Served) -> None:
    metrics = httpx2.get(f"{shop.url}/metrics")
    assert 'http_requests_total{method="POST",path="/books",status="201"} 1.0' in metrics.text
    assert 'starkeel_build_info{revision="unknown",service="shop"' in metrics.text
    opened = httpx2.get(f"{shop.url}/metrics", headers={"Accept": "application/openmetrics-text"})
    assert opened.headers["Content-Type"].startswith("application/openmetrics-text")
    assert "# EOF" in opened.text


def _check_the_error(shop: Served, *, is_problem: bool) -> None:
    """Check an unexpected error: the client receives no detail of it, and the log has its traceback."""
    response = httpx2.get(f"{shop.url}/price-share/0")
    assert response.status_code == 500
    assert "division" not in response.text.lower()
    assert "Traceback" not in response.text
    line = _wait_for_line(shop, "request failed", request_id=response.headers["X-Request-ID"])
    assert "price_share" in line["exception"]["stack"]
    is_sent = response.headers["Content-Type"] == "application/problem+json"
    assert is_sent == is_problem
    assert ("X-Content-Type-Options" in response.headers) == is_problem


def _wait_for_line(shop: Served, message: str, **fields: Any) -> dict[str, Any]:
    expected = {"message": message, **fields}

    def find() -> dict[str, Any] | None:
        lines = [json.loads(line) for line in shop.output.splitlines() if line.startswith("{")]
        return next((line for line in lines if expected.items() <= line.items()), None)

    wait_until(lambda: find() is not None, timeout_s=WAIT_S, what=lambda: f"{expected}\n{shop.output}")
    found = find()
    assert found is not None
    return found


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.after)
def test_a_step_adds_at_most_ten_lines(step: Step) -> None:
    added = [line for line in step.diff().splitlines() if line.startswith("+") and line[1:].strip()]
    lines = [line for line in added if not line.startswith("+++")]

    assert 0 < len(lines) <= 10, "\n".join(lines)


def _indexes(lock: Path) -> set[str]:
    packages = tomllib.loads(lock.read_text("utf-8"))["package"]
    return {package["source"]["registry"] for package in packages if "registry" in package["source"]}


@pytest.mark.parametrize("name", names())
def test_the_lock_has_the_dependencies_of_the_wheels(name: str, wheels: Path) -> None:
    lock = tomllib.loads((EXAMPLES / name / "uv.lock").read_text("utf-8"))
    sources = {package["source"].get("registry", ".") for package in lock["package"]}
    assert sources <= {*_indexes(EXAMPLES.parent / "uv.lock"), "../wheels", "."}
    for package in lock["package"]:
        if package["source"].get("registry") == "../wheels":
            version, requirements = _metadata(wheels, package["name"])
            locked = {each["name"] for each in package.get("dependencies", ())}
            assert (package["version"], locked) == (version, requirements), "run `just examples`"


def _metadata(wheels: Path, name: str) -> tuple[str, set[str]]:
    """Return the version of a wheel, and the names of its dependencies without extras of its own."""
    [wheel] = wheels.glob(f"{name.replace('-', '_')}-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        [path] = [path for path in archive.namelist() if path.endswith(".dist-info/METADATA")]
        metadata = Parser().parsestr(archive.read(path).decode())
    required = [text for text in metadata.get_all("Requires-Dist", []) if "extra ==" not in text]
    return metadata["Version"], {re.match(r"[\w.-]+", text)[0].lower() for text in required}  # type: ignore[index]
