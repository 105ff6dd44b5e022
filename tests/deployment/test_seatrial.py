"""The manifests and the compose file against the checklist of seatrial."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import ROOT
from .manifests import OVERLAYS, SERVICES, Document, settings_of
from .test_kubernetes import stop_seconds

# One replica of each service on a machine for development.
EXPECTED_FAILURES = {"development": {"manifests-replicas"}, "production": set[str]()}


def judged(path: str, folder: Path, *, stop_s: float, given: str = "") -> dict[str, str]:
    """Return the verdicts by row."""
    (folder / "seatrial.toml").write_text(f"stop_s = {stop_s}")
    command = [sys.executable, "-m", "seatrial", "manifests", path, "--format", "json"]
    result = subprocess.run(
        command, cwd=folder, input=given, capture_output=True, text=True, check=False, timeout=60
    )
    assert result.returncode in {0, 1}, result.stderr
    return {row["id"]: row["verdict"] for row in json.loads(result.stdout)["rows"]}


def of_verdict(verdicts: dict[str, str], verdict: str, prefix: str = "manifests-") -> set[str]:
    return {row for row, each in verdicts.items() if each == verdict and row.startswith(prefix)}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_manifests_pass(
    rendered: dict[str, str], documents: dict[str, list[Document]], tmp_path: Path, overlay: str
) -> None:
    stop_s = max(stop_seconds(settings_of(documents[overlay], service)) for service in SERVICES)
    verdicts = judged("-", tmp_path, stop_s=stop_s, given=rendered[overlay])
    assert of_verdict(verdicts, "fail") == EXPECTED_FAILURES[overlay]
    assert of_verdict(verdicts, "unknown") == set()
    # Rows about compose files.
    assert of_verdict(verdicts, "not applicable") == of_verdict(
        verdicts, "not applicable", "manifests-compose-"
    )


def test_the_compose_file_passes(tmp_path: Path) -> None:
    verdicts = judged(str(ROOT / "deploy/compose.yaml"), tmp_path, stop_s=stop_seconds({}))
    compose = {row for row in verdicts if row.startswith("manifests-compose-")}
    assert of_verdict(verdicts, "pass") == compose
    assert of_verdict(verdicts, "not applicable") == verdicts.keys() - compose
