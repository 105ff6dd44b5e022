"""Rules and routes, checked by promtool and amtool."""

import subprocess
from pathlib import Path

import pytest

from ...support.programs import find_program
from ...support.registry import ENTRY, THIRD, copied, generate, register
from .stack_processes import ROOT, STACK, rule_files

_TESTS = sorted((STACK / "rule_tests").glob("*.yaml"))
_ALERTMANAGER = str(STACK / "alertmanager.yaml")


def test_prometheus_accepts_configuration_and_rules(tmp_path: Path) -> None:
    promtool = find_program("promtool", package="prometheus")
    _run(promtool, "check", "config", "--syntax-only", str(STACK / "prometheus.yaml"))
    output = _run(promtool, "check", "rules", "--lint-fatal", *map(str, rule_files()))
    assert output.count("SUCCESS") == len(rule_files())


@pytest.mark.parametrize("path", _TESTS, ids=[path.stem for path in _TESTS])
def test_the_rule_tests_pass(path: Path) -> None:
    assert "SUCCESS" in _run(find_program("promtool", package="prometheus"), "test", "rules", str(path))


def test_the_rules_of_a_third_service_with_other_objectives_pass(tmp_path: Path) -> None:
    promtool = find_program("promtool", package="prometheus")
    workspace = copied(tmp_path)
    register(workspace, THIRD, ENTRY)
    assert generate(workspace, "dashboards").returncode == 0
    stack = workspace / STACK.relative_to(ROOT)

    output = _run(promtool, "check", "rules", "--lint-fatal", *map(str, rule_files(stack)))
    assert output.count("SUCCESS") == len(rule_files(stack))
    for name in ("slo.yaml", "slo_days.yaml"):
        tests = stack / "rule_tests" / name
        assert f'service="{THIRD}"' in tests.read_text()
        assert "SUCCESS" in _run(promtool, "test", "rules", str(tests))


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        (["alertname=Watchdog", "severity=none"], "watchdog"),
        (["alertname=AvailabilityBudgetBurn", "severity=critical", "service=any"], "page"),
        (["alertname=AvailabilityBudgetBurn", "severity=warning", "service=any"], "ticket"),
    ],
)
def test_alerts_are_routed_by_severity(labels: list[str], receiver: str) -> None:
    amtool = find_program("amtool", package="prometheus-alertmanager")
    assert "SUCCESS" in _run(amtool, "check-config", _ALERTMANAGER)
    output = _run(amtool, "config", "routes", "test", f"--config.file={_ALERTMANAGER}", *labels)
    assert output.split()[-1] == receiver


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
