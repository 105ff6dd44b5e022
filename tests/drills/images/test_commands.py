"""Every command and every unauthenticated page of the images, in hardened containers."""

import json
import re
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from .conftest import SERVICES
from .container_fleet import HARDENED, Container, Fleet

# Arguments of the commands that need some; an exit code other than 0 is the documented refusal.
ARGUMENTS = {
    "revision": ["--empty", "add a column"],
    "backup": ["/dev/shm/copy.db"],
    "restore": ["/dev/shm/copy.db"],
}
REFUSED = {"revision": 1, "backup": 1, "restore": 1}


@pytest.mark.parametrize("service", SERVICES)
def test_every_command_works_on_a_read_only_file_system(containers: Fleet, service: str) -> None:
    listed = _run(containers, service, "--help")
    commands = re.findall(r"^    (\w+) ", listed[1], re.MULTILINE)
    assert {"serve", "config", "migrate", "openapi", "health"} <= set(commands)
    for command in commands:
        if command in {"serve", "worker", "health"}:
            continue  # run until they are stopped; the other drills start them, and Docker calls `health`
        code, output = _run(containers, service, command, *ARGUMENTS.get(command, []))
        assert code == REFUSED.get(command, 0), f"{command}: {code}\n{output}"
        assert "Traceback" not in output, output


@pytest.mark.parametrize("service", SERVICES)
def test_commands_without_configuration_work_without_any(containers: Fleet, service: str) -> None:
    docker, image = containers.docker, containers.images[service]
    document = json.loads(docker("run", "--rm", *HARDENED, "--network", "none", image, "openapi"))
    assert document["info"]["title"].lower() == service


@pytest.mark.parametrize("service", SERVICES)
def test_every_unauthenticated_page_answers(
    ready: Callable[[str], Container], containers: Fleet, service: str
) -> None:
    container = ready(service)
    docker = containers.docker
    document = json.loads(docker("run", "--rm", *HARDENED, containers.images[service], "openapi"))
    paths = ["/schema", "/schema/openapi.json", "/health/live", "/health/ready", "/health/started"]
    paths += [
        path
        for path, operations in document["paths"].items()
        if "{" not in path and "get" in operations and not operations["get"].get("security")
    ]
    statuses: dict[str, Any] = {}
    with httpx2.Client(base_url=container.url(), timeout=30, trust_env=False) as client:
        for path in paths:
            statuses[path] = client.get(path, follow_redirects=True).status_code
        page = client.get("/schema")
        for source in re.findall(r'(?:src|href)="(/[^"#]+)"', page.text):
            statuses[source] = client.get(source).status_code
    with httpx2.Client(base_url=container.url(9090), timeout=30, trust_env=False) as client:
        for path in ("/live", "/ready", "/metrics"):
            statuses[f"admin {path}"] = client.get(path).status_code
    assert {path: status for path, status in statuses.items() if status != 200} == {}


def _run(containers: Fleet, service: str, *command: str) -> tuple[int, str]:
    """Run a command in a hardened container with the environment of the deployment."""
    variables = [
        part for pair in containers.environment(service).items() for part in ("--env", "=".join(pair))
    ]
    secret = ["--volume", f"{containers.directory}:/run/secrets:ro", "--network", containers.network]
    done = containers.docker.tried(
        "run", "--rm", *HARDENED, *variables, *secret, containers.images[service], *command
    )
    return done.returncode, done.stdout + done.stderr
