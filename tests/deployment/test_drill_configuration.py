"""Each service that has a `seatrial.toml` can be drilled with it."""

from pathlib import Path

import pytest
from seatrial._config.read import read_config

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "path", sorted(ROOT.glob("services/*/seatrial.toml")), ids=lambda path: path.parent.name
)
def test_configuration_of_the_drill_is_read(path: Path) -> None:
    config = read_config(path)
    assert config.drill.env["ENVIRONMENT"] == "development"
    assert config.drill.admin_port_variable == "METRICS_PORT"
