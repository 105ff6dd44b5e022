"""Fixtures of the image drills: a Docker engine, the images, and containers."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path

import httpx2
import pytest

from tools.registry import read, upstreams
from tools.workspace import service_names

from ...support.accounts import sign_in
from .container_fleet import Container, Fleet, fleet
from .docker import Docker
from .docker_engine import engine, locked
from .fake_images import provide

ROOT = Path(__file__).parents[3]
SERVICES = service_names()
_BUILDING_S = 1200


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Extend the timeout: the first test of each process builds the images."""
    for item in items:
        if "docker" in getattr(item, "fixturenames", ()) and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(_BUILDING_S))


@pytest.fixture(scope="session")
def docker() -> Iterator[Docker]:
    """A Docker with the base images."""
    with engine() as running:
        client = Docker(running)
        provide(client, "uv", "debian", "distroless-debug", "distroless-nonroot", "postgres", "valkey")
        yield client


@pytest.fixture(scope="session")
def images(docker: Docker) -> Mapping[str, str]:
    """The image of each service, built from this tree."""
    tree = hashlib.sha256(str(ROOT).encode()).hexdigest()[:12]
    names = {service: f"starkeel-test/{service}:{tree}" for service in SERVICES}
    with locked("images"):
        for service, name in names.items():
            labels = {"SERVICE": service, "VERSION": "1.2.3", "REVISION": "0123abc"}
            labels["CREATED"] = "2026-01-02T03:04:05Z"
            docker.build(ROOT, name, "--file", ROOT / "deploy/Dockerfile", arguments=labels)
    return names


@pytest.fixture(scope="module")
def containers(
    docker: Docker, images: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Fleet]:
    """A network with a PostgreSQL and a Redis."""
    with fleet(docker, images, tmp_path_factory.mktemp("secrets")) as running_fleet:
        yield running_fleet


@pytest.fixture(scope="module")
def ready(containers: Fleet) -> Callable[[str], Container]:
    """Starts a service after those that it calls, once each, and returns it when it is ready."""
    services = {service.name: service for service in read()}

    @cache
    def start(name: str) -> Container:
        for upstream in upstreams(services[name], list(services.values())):
            start(upstream)
        container = containers.service(name)
        container.wait_until_ready()
        return container

    return start


@pytest.fixture(scope="module")
def accounts(ready: Callable[[str], Container]) -> Container:
    """Accounts, ready."""
    return ready("accounts")


@pytest.fixture(scope="module")
def caller(accounts: Container) -> dict[str, str]:
    """Authorization header of a registered user."""
    with httpx2.Client(base_url=accounts.url(), timeout=30, trust_env=False) as client:
        return sign_in(client)
