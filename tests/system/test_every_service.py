"""Rules of every service of the registry, on running processes."""

import json
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from starkeel_testing import Service, exits, wait_until

from tools.registry import ROOT
from tools.workspace import service_names

from ..support.fleet import Fleet, running_fleet
from ..support.operations import operations

SERVICES = service_names()


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    directory = tmp_path_factory.mktemp("databases")
    numbers = iter(range(len(SERVICES)))
    with running_fleet(lambda: f"sqlite:///{directory}/{next(numbers)}.db") as running:
        yield running


@pytest.fixture(params=SERVICES)
def service(fleet: Fleet, request: pytest.FixtureRequest) -> Service:
    return fleet.services[request.param]


def test_it_is_healthy_and_its_start_has_no_warning(service: Service) -> None:
    for probe in ("live", "ready", "started"):
        assert service.client.get(f"/health/{probe}").status_code == 200, probe
    for page in ("", "live", "ready", "metrics", "info", "config", "routes", "tasks", "loggers"):
        found = httpx2.get(f"{service.admin_url}/{page}", timeout=30, trust_env=False)
        assert found.status_code == 200, page
    assert [line for line in service.logs() if line["level"] not in {"INFO", "DEBUG"}] == []


def test_its_document_is_the_committed_one(service: Service) -> None:
    committed = json.loads((ROOT / "docs/openapi" / f"{service.name}.json").read_text("utf-8"))

    served = service.client.get("/schema/openapi.json").json()

    # `servers` and the version of the deployment are those of the process.
    assert served["paths"] == committed["paths"]
    assert served["components"] == committed["components"]


def _path_with_get(service: Service) -> str:
    document: dict[str, Any] = service.client.get("/schema/openapi.json").json()
    put = {each.path for each in operations(document) if each.method == "put"}
    return next(
        each.path
        for each in operations(document)
        if each.method == "get" and "{" not in each.path and each.path not in put
    )


def test_unmatched_paths_and_wrong_methods_are_problems_and_counted(service: Service) -> None:
    path = _path_with_get(service)
    for _ in range(3):
        unmatched = service.client.get("/nowhere")
        assert unmatched.status_code == 404
    wrong = service.client.put(path)

    assert wrong.status_code == 405
    for response in (unmatched, wrong):
        assert response.headers["content-type"] == "application/problem+json"
        problem = response.json()
        assert problem["status"] == response.status_code
        assert problem["request_id"] == response.headers["x-request-id"]

    def counted(**labels: str) -> float:
        return service.metric("http_requests_total", **labels)

    wait_until(lambda: counted(method="GET", path="__unmatched__", status="404") == 3, what="the 404s")
    wait_until(lambda: counted(method="PUT", path=path, status="405") == 1, what="the 405")


def test_a_complete_download_is_counted_as_complete(service: Service) -> None:
    url = f"{service.url}/schema/static/swagger-ui-bundle.js"
    for _ in range(20):
        # The connection is closed as soon as the last byte has arrived.
        assert len(httpx2.get(url, trust_env=False).content) > 1_000_000

    def counted() -> dict[str, float]:
        return {
            sample.labels["status"]: sample.value
            for sample in service.metrics()
            if sample.name == "http_requests_total" and sample.labels["path"].startswith("/schema/static/")
        }

    wait_until(lambda: sum(counted().values()) == 20, timeout_s=10, what="all requests to be counted")
    assert counted() == {"200": 20}


@pytest.mark.parametrize("name", SERVICES)
def test_its_settings_are_listed_without_a_configuration(name: str) -> None:
    listed = exits(name, {"ENVIRONMENT": "development"}, "config")

    assert listed.code == 0, listed.output
    assert "LOG_LEVEL" in listed.output
