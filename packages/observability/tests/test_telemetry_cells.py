"""Numbers that are added to in place are those that the page shows."""

import subprocess
import sys
from pathlib import Path

GROWING = """
import sys
from prometheus_client import CollectorRegistry, values
from prometheus_client.multiprocess import MultiProcessCollector

values.ValueClass = values.MultiProcessValue(lambda: "me")
from starkeel_observability import counter
from starkeel_observability._metrics.mmap_values import values_of

asked = counter("asked_total", "Asked.", labels=("of",))
cells, (place,) = values_of(asked.labels("first").values())
assert isinstance(cells, memoryview), "not in place"
cells[place] += 1.0
# More than the file had room for when it was made.
for number in range(900):
    asked.labels(f"another-{number}" + "x" * 100).inc()
    cells[place] += 1.0
again, (place_again,) = values_of(asked.labels("first").values())
again[place_again] += 1.0

registry = CollectorRegistry()
MultiProcessCollector(registry)
print(registry.get_sample_value("asked_total", {"of": "first"}))
"""


def test_what_is_counted_in_place_is_on_the_page_when_the_file_has_grown(tmp_path: Path) -> None:
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
