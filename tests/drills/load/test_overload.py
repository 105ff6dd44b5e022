"""Offered load of once, twice and five times the capacity of a handler."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from starkeel_testing import Service, running

from ...support.open_loop import Plan, Result, Sent, generating
from ...support.report import report

pytestmark = [pytest.mark.timeout(300), pytest.mark.alone]

SAMPLE = Path(__file__).parents[3] / "packages" / "http" / "tests"
LOAD_S, BREAK_S, AFTER_S = 6.0, 3.0, 5.0
RECOVERY_S, MAX_WAIT_S = 2.0, 1.0
MAX_PROBE_S = 2.0
MIN_GOODPUT = 0.8


def running_sample(**env: str) -> Any:
    return running("http_sample", {"PYTHONPATH": str(SAMPLE), **env})


# Its capacity is small, so that the load generator never is what is measured: 10 ms of CPU time, or a
# pool of two that takes 20 ms for each.
@pytest.mark.parametrize("path", ["/compute", "/pooled"])
def test_goodput_under_overload(path: str, capsys: Any) -> None:
    with running_sample() as service:
        capacity = capacity_of(service, path)
        phases: list[tuple[float, float]] = []
        for times in (1.0, 2.0, 5.0):
            phases += [(capacity * times, LOAD_S), (capacity / 5, BREAK_S)]
        phases[-1] = capacity / 2, AFTER_S
        plan = Plan(service.url, [("GET", path)], phases, probe="/health/live")
        with generating(plan) as load:
            result = load.result()
        shed = service.metric("load_shed_requests_total")
    goodput = {}
    for number, times in enumerate((1, 2, 5)):
        began = number * (LOAD_S + BREAK_S)
        sent = result.all(since=began, until=began + LOAD_S)
        # By the time of the response: what waits at the end is served in the break.
        served = [each for each in result.all() if each.status == 200 and within(each, began, LOAD_S)]
        goodput[times] = len(served) / LOAD_S
        report(capsys, f"{path} at {times}x of {capacity:.0f}/s", shown(sent), goodput=round(goodput[times]))
    after = recovered_after(result, began + LOAD_S)
    slowest = max(probe.taken for probe in result.probes)
    report(
        capsys,
        path,
        goodput_at_5x_of_peak=round(goodput[5] / max(goodput.values()), 2),
        recovered_after=f"{after:.1f} s",
        slowest_probe=f"{slowest * 1000:.0f} ms",
        refused=round(shed),
        generator_late=f"{result.late_s * 1000:.0f} ms",
    )
    assert {probe.status for probe in result.probes} == {200}
    assert slowest < MAX_PROBE_S
    assert {each.status for each in result.all()} == {200, 503}
    assert shed == sum(each.status == 503 for each in result.all())
    assert goodput[5] >= MIN_GOODPUT * max(goodput.values())
    # A request waits for at most twice the time, and then executes.
    assert p99([each for each in result.all() if each.status == 200]) < 2 * MAX_WAIT_S + 1
    assert after < RECOVERY_S


def test_requests_that_wait_for_something_else_are_not_limited(capsys: Any) -> None:
    with running_sample() as service:
        plan = Plan(service.url, [("GET", "/waiting")], [(100, 1), (500, 6)])
        with generating(plan) as load:
            result = load.result()
        assert service.metric("load_shed_requests_total") == 0
    report(capsys, "30 ms of waiting, 500/s", shown(result.all(since=1)))
    assert {each.status for each in result.all()} == {200}


def test_reads_are_refused_before_writes(capsys: Any) -> None:
    with running_sample() as service:
        capacity = capacity_of(service, "/compute")
        requests = [("POST", "/compute"), ("GET", "/compute"), ("GET", "/compute"), ("GET", "/compute")]
        with generating(Plan(service.url, requests, [(2 * capacity, 8)])) as load:
            result = load.result()
    reads, writes = result.sent["GET /compute"], result.sent["POST /compute"]
    report(capsys, "reads at 2x", shown(reads))
    report(capsys, "writes at 2x", shown(writes))
    assert refused(reads) > 0.2
    assert refused(writes) < refused(reads) / 4


def test_without_shedding_nothing_is_refused(capsys: Any) -> None:
    with running_sample(LOAD_SHEDDING="false") as service:
        capacity = capacity_of(service, "/compute")
        with generating(Plan(service.url, [("GET", "/compute")], [(3 * capacity, 4)])) as load:
            result = load.result()
    report(capsys, "without shedding at 3x", shown(result.all()))
    assert {each.status for each in result.all()} == {200}


def capacity_of(service: Service, path: str) -> float:
    """Return the requests per second that a few clients get from a service, and warm it up."""
    with generating(Plan(service.url, [("GET", path)], [(0.001, 3.0)], kept=8)) as load:
        result = load.result()
    return len(result.all(since=1.0)) / 2.0


def within(each: Sent, began: float, seconds: float) -> bool:
    return began <= each.at + each.taken < began + seconds


def recovered_after(result: Result, ended: float) -> float:
    """Return the seconds after a wave from which nothing was refused."""
    return max((each.at - ended for each in result.all(since=ended) if each.status != 200), default=0.0)


def refused(sent: list[Sent]) -> float:
    return sum(each.status == 503 for each in sent) / len(sent)


def p99(sent: list[Sent]) -> float:
    times = sorted(each.taken for each in sent) or [float("inf")]
    return times[int(len(times) * 0.99)]


def shown(sent: list[Sent]) -> str:
    served = [each for each in sent if each.status in {200, 201}]
    statuses = ", ".join(
        f"{count} x {status}" for status, count in sorted(Counter(s for _, s, _ in sent).items())
    )
    return f"{statuses}, p99 of served {p99(served) * 1000:.0f} ms"
