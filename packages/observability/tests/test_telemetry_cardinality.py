"""The number of series is bounded."""

from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
from prometheus_client import generate_latest
from starkeel_observability import counter, gauge, histogram


def test_series_beyond_a_thousand_are_counted_together() -> None:
    name = f"capped_{uuid4().hex}"
    total = counter(f"{name}_total", "Things.", labels=("user", "kind"))
    for number in range(5000):
        total.labels(str(number), kind := "x").inc()
        total.labels(user=str(number), kind=kind).inc()

    lines = [line for line in generate_latest().decode().splitlines() if line.startswith(f"{name}_total{{")]
    assert len(lines) == 1001
    assert f'{name}_total{{kind="__other__",user="__other__"}} 8000.0' in lines
    assert f'{name}_total{{kind="x",user="999"}} 2.0' in lines


def test_histograms_and_gauges_are_capped() -> None:
    name = f"capped_{uuid4().hex}"
    sizes = histogram(f"{name}_bytes", "Sizes.", labels=("user",), buckets=(1,))
    open_ = gauge(f"{name}_open", "Open.", labels=("user",))
    for number in range(1500):
        sizes.labels(number).observe(1)
        open_.labels(user=number).inc()

    page = generate_latest().decode()
    assert f'{name}_bytes_count{{user="__other__"}} 500.0' in page
    assert f'{name}_open{{user="__other__"}} 500.0' in page


def test_long_distinct_headers_are_not_cached(samples: Any) -> None:
    sample = samples.ready()
    pid = sample.get("/pid").json()["pid"]

    def resident_mib() -> float:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096 / 2**20

    def send(number: int) -> None:
        text = f"{number}".ljust(60_000, "x")
        for name in ("host", "user-agent"):
            assert client.get("/pid", headers={name: text}).status_code == 200

    with httpx2.Client(base_url=sample.url) as client:
        send(0)
        before = resident_mib()
        for number in range(1, 501):
            send(number)
    # The headers have 57 MiB.
    assert resident_mib() - before < 20
