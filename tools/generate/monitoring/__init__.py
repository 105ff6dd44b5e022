"""Rules, their tests and dashboards of the monitoring stack, from the registry of services."""

from pathlib import Path

from ...registry import read
from .. import dashboards
from . import prometheus_rule, slo_rules, slo_tests


def files(root: Path) -> dict[Path, str | None]:
    """Return the files by path.

    Raises:
        RegistryError: The registry is invalid, or a file of rules is.
    """
    services = read(root)
    rules = slo_rules.files(root, services)
    return (
        dashboards.files(root, services)
        | rules
        | slo_tests.files(root, services)
        | prometheus_rule.files(root, rules)
    )
