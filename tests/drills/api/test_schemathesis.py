"""Generated requests against both services: every operation by itself, and sequences along the links."""

import os
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest
from starkeel_testing import Service

from ...support.fleet import Fleet
from ...support.report import report

pytestmark = pytest.mark.timeout(300)

ROOT = Path(__file__).parents[3]
CONFIGURATION = Path(__file__).parent / "schemathesis.toml"
EXAMPLES = "25"
"""Generated requests of each operation and phase; more find little, and take longer than a build may."""


def seed() -> str:
    """Return the seed: the same in every build, so that a build fails only because of its change."""
    return "7" if os.environ.get("CI") else str(random.randrange(1_000_000))


def run(service: Service, authorization: str, directory: Path) -> subprocess.CompletedProcess[str]:
    options = ["--config-file", str(CONFIGURATION), "run", f"{service.url}/schema/openapi.json"]
    options += ["--header", f"Authorization: {authorization}", "--seed", seed(), "--max-examples", EXAMPLES]
    options += ["--phases", "examples,coverage,fuzzing,stateful", "--no-color"]
    # The configuration names its hooks by module; written files go to the test's directory.
    env = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "110"}
    command = [str(Path(sys.executable).parent / "schemathesis"), *options]
    return subprocess.run(command, cwd=directory, env=env, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", ["accounts", "orders"])
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
    assert links is not None, finished.stdout
    assert int(links[1]) > 0, "no link was followed"
    report(capsys, f"schemathesis {name}", requests=cases[1], links_followed=links[1])
    failed = [line for line in service.logs() if line["message"] == "request failed"]
    assert failed == []
