"""What Prometheus' and Alertmanager's own tools say of rules and routes."""

import subprocess
from pathlib import Path

import pytest

from .stack_processes import STACK, program

_TESTS = sorted((STACK / "rule_tests").glob("*.yaml"))
_ALERTMANAGER = str(STACK / "alertmanager.yaml")


def test_prometheus_accepts_configuration_and_rules(tmp_path: Path) -> None:
    promtool = program("promtool", package="prometheus")
    _run(promtool, "check", "config", "--syntax-only", str(STACK / "prometheus.yaml"))
    said = _run(promtool, "check", "rules", "--lint-fatal", *map(str, (STACK / "rules").glob("*.yaml")))
    assert said.count("SUCCESS") == len(list((STACK / "rules").glob("*.yaml")))


@pytest.mark.parametrize("path", _TESTS, ids=[path.stem for path in _TESTS])
def test_alerts_fire_when_they_should_and_not_when_they_should_not(path: Path) -> None:
    assert "SUCCESS" in _run(program("promtool", package="prometheus"), "test", "rules", str(path))


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        (["alertname=Watchdog", "severity=none"], "watchdog"),
        (["alertname=AvailabilityBudgetBurn", "severity=critical", "service=orders"], "page"),
        (["alertname=AvailabilityBudgetBurn", "severity=warning", "service=orders"], "ticket"),
    ],
)
def test_alerts_go_to_those_whom_they_concern(labels: list[str], receiver: str) -> None:
    amtool = program("amtool", package="prometheus-alertmanager")
    assert "SUCCESS" in _run(amtool, "check-config", _ALERTMANAGER)
    said = _run(amtool, "config", "routes", "test", f"--config.file={_ALERTMANAGER}", *labels)
    assert said.split()[-1] == receiver


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
