"""Values that are changed in place are exposed."""

import subprocess
import sys
from pathlib import Path

GROWING = """
import sys
from prometheus_client import CollectorRegistry, values
from prometheus_client.multiprocess import MultiProcessCollector

values.ValueClass = values.MultiProcessValue(lambda: "me")
from starkeel_observability import counter
from starkeel_observability._metrics.http import values_of

requests = counter("requests_total", "Requests.", labels=("of",))
cells, (place,) = values_of(requests.labels("first"))
assert isinstance(cells, memoryview), "not in place"
cells[place] += 1.0
# More than the initial size of the file.
for number in range(900):
    requests.labels(f"another-{number}" + "x" * 100).inc()
    cells[place] += 1.0
again, (place_again,) = values_of(requests.labels("first"))
again[place_again] += 1.0

registry = CollectorRegistry()
MultiProcessCollector(registry)
print(registry.get_sample_value("requests_total", {"of": "first"}))
"""


def test_values_written_in_place_survive_growth_of_the_file(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", GROWING],
        env={"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )

    assert done.stderr == ""
    assert done.stdout == "902.0\n"
    assert (tmp_path / "counter_me.db").stat().st_size > 1 << 16
