"""Generated requests against every service: every operation by itself, and sequences along the links."""

import json
import os
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest
from starkeel_testing import Service

from ...support.api_cases import api_cases
from ...support.fleet import Fleet
from ...support.operations import EVENT_STREAM, Operation, operations
from ...support.report import report

pytestmark = pytest.mark.timeout(300)

ROOT = Path(__file__).parents[3]
CONFIGURATION = Path(__file__).parent / "schemathesis.toml"
_ACCEPTED = ("2xx", "3xx", "401", "403", "404", "409", "429", "5xx")
EXAMPLES = "25"
"""Generated requests of each operation and phase; more find little, and take longer than a build may."""


def seed() -> str:
    """Return the seed: the same in every build, so that a build fails only because of its change."""
    return "7" if os.environ.get("CI") else str(random.randrange(1_000_000))


def exceptions(operation: Operation) -> str:
    """Return the table of an operation that may refuse valid requests, or whose response does not end."""
    # One condition: of several, one that matches is enough.
    table = f'[[operations]]\ninclude-name = "{operation.method.upper()} {operation.path}"\n'
    if any((operation.response(status) or ("",))[0] == EVENT_STREAM for status in operation.successes()):
        # `tests/system/api` and the tests of the service read it.
        return f"{table}enabled = false\n"
    headers = {each["name"] for each in operation.parameters}
    # A precondition depends on the state of the resource, not on the schema of the header; a key that was
    # used for another request is a 422, and the examples of the document have one key.
    statuses = {"If-Match": "412", "Idempotency-Key": "422"}
    further = [status for name, status in statuses.items() if name in headers]
    if not further:
        return ""
    expected = json.dumps([*_ACCEPTED, *further])
    return f"{table}[operations.checks.positive_data_acceptance]\nexpected-statuses = {expected}\n"


def run(service: Service, authorization: str, directory: Path) -> subprocess.CompletedProcess[str]:
    document = service.client.get("/schema/openapi.json").json()
    configuration = directory / "schemathesis.toml"
    tables = [CONFIGURATION.read_text("utf-8"), *map(exceptions, operations(document))]
    configuration.write_text("\n".join(tables), "utf-8")
    options = ["--config-file", str(configuration), "run", f"{service.url}/schema/openapi.json"]
    options += ["--header", f"Authorization: {authorization}", "--seed", seed(), "--max-examples", EXAMPLES]
    options += ["--phases", "examples,coverage,fuzzing,stateful", "--no-color"]
    # The configuration names its hooks by module; written files go to the test's directory.
    env = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "110"}
    command = [str(Path(sys.executable).parent / "schemathesis"), *options]
    return subprocess.run(command, cwd=directory, env=env, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", api_cases())
def test_generated_requests_find_no_failure(
    fleet: Fleet, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    service, person = fleet.services[name], fleet.new_person()
    # Without a session: generated requests end those of their user.
    finished = run(service, fleet.authorization(person), tmp_path)

    assert finished.returncode == 0, finished.stdout + finished.stderr
    cases = re.search(r"([0-9,]+) generated", finished.stdout)
    links = re.search(r"API Links: +([0-9]+) covered", finished.stdout)
    assert cases is not None, finished.stdout
    followed = int(links[1]) if links else 0
    assert followed or not api_cases()[name].has_objects, "no link was followed"
    report(capsys, f"schemathesis {name}", requests=cases[1], links_followed=followed)
    failed = [line for line in service.logs() if line["message"] == "request failed"]
    assert failed == []
