"""Every exception class of the libraries has one decision, and no layer fails while it handles one.

`library_errors.toml` has the decisions. A class that a new release of a library adds fails the first test.
"""

import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from litestar import Litestar
from litestar.exceptions import HTTPException
from starkeel_client import ClientPlugin, UpstreamSettings, UpstreamUrl
from starkeel_testing import Service, running

from .error_sample.catalogue import error_classes, made

pytestmark = [pytest.mark.needs_postgres, pytest.mark.timeout(300)]

HERE = Path(__file__).parent
DECISIONS: dict[str, dict[str, list[str]]] = tomllib.loads((HERE / "library_errors.toml").read_text())
CLASSES = error_classes()


def decided(table: str) -> dict[str, str]:
    """Return the decisions of a table by class."""
    return {name: decision for decision, names in DECISIONS[table].items() for name in names}


ALL = {name: decision for table in DECISIONS for name, decision in decided(table).items()}


def test_every_class_has_exactly_one_decision() -> None:
    listed = Counter(name for table in DECISIONS.values() for names in table.values() for name in names)

    assert sorted(set(CLASSES) - set(listed)) == [], "decide about them in library_errors.toml"
    assert sorted(set(listed) - set(CLASSES)) == [], "remove them from library_errors.toml"
    assert [name for name, count in listed.items() if count > 1] == []


@pytest.fixture
def sample(database_url: str) -> Iterator[Service]:
    env = {"PYTHONPATH": str(HERE), "DB_MIN_CONNECTIONS": "0", "DATABASE_URL": database_url}
    with running("error_sample", env, timeout_s=90) as service:
        yield service


def test_the_statuses_are_those_decided(sample: Service, database_url: str) -> None:
    table = "postgresql" if database_url.startswith("postgres") else "sqlite"
    drivers = decided(table)
    of_drivers = {"unavailable": 503, "stale": 503, "failed": 500}
    expected = {f"/handler/{name}": 500 for name in ALL}
    expected |= {f"/database/{name}": of_drivers[decision] for name, decision in drivers.items()}
    # In the first statement of a transaction, a stale plan is healed.
    expected |= {
        f"/first/{name}": 200 if decision == "stale" else of_drivers[decision]
        for name, decision in drivers.items()
    }

    found = {path: sample.client.get(path).status_code for path in expected}

    assert found == expected
    sample.stop()
    completed = {
        line["path"]: line.get("error_type")
        for line in sample.logs()
        if line["message"] == "request completed" and line["path"] in expected
    }
    assert set(completed) == set(expected)
    for path, error_type in completed.items():
        name = path.rpartition("/")[2]
        assert (error_type is None) is (expected[path] == 200), path
        if path.startswith("/handler/"):
            assert error_type == name
        elif expected[path] == 500:
            assert str(error_type) == name or str(error_type).startswith("sqlalchemy.exc."), path
    # A handler of errors that fails logs an error of another type.
    libraries = {name.partition(".")[0] for name in ALL}
    failed = {line["error_type"] for line in sample.logs() if line["message"] == "request failed"}
    assert [name for name in failed if name.partition(".")[0] not in libraries] == []


@pytest.mark.parametrize("place", ["handler", "database", "group", "cycle"])
def test_an_exception_that_cannot_be_printed_is_a_500(sample: Service, place: str) -> None:
    response = sample.client.get(f"/unprintable/{place}")

    assert response.status_code == 500
    assert response.headers["content-type"] == "application/problem+json"
    line = sample.wait_for_log("request completed", path=f"/unprintable/{place}", timeout_s=20)
    assert line["status"] == 500
    if place != "cycle":
        assert line["error_type"].endswith(("UnprintableError", "DBAPIError"))
    sample.wait_for_log("request failed", timeout_s=20)
    assert sample.client.get("/health/live").status_code == 200


async def test_calls_end_as_decided(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = decided("client")

    assert {name: await _outcome(made(CLASSES[name]), monkeypatch) for name in expected} == expected


async def _outcome(error: Exception, monkeypatch: pytest.MonkeyPatch) -> str:
    attempts = 0

    async def send(*_: object) -> httpx2.Response:
        nonlocal attempts
        attempts += 1
        raise error

    monkeypatch.setattr(httpx2.AsyncHTTPTransport, "handle_async_request", send)
    settings = UpstreamSettings(url=UpstreamUrl("http://127.0.0.1:1"), retries=1)
    plugin = ClientPlugin(shop=settings)
    async with Litestar([], plugins=[plugin]).lifespan():
        with pytest.raises((HTTPException, type(error))) as caught:
            await plugin.client("shop").get("/")
    if caught.value is error:
        return "raised"
    assert isinstance(caught.value, HTTPException)
    return "retried" if attempts > 1 else "given_up"
