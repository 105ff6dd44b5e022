"""Rows about metrics of requests."""

import secrets as tokens
import time
from functools import partial

from .._rows.row import Category, Remedy, Row, Severity
from .._rows.verdict import Evidence, Judgement, Undecided, failed, passed
from .._target.service import Service
from .exposition import Sample
from .scrape import SETTLE_ROUNDS, SETTLE_S, counters_of, endpoint, read_metrics, status_of, total, warm

_ROUTES = {"route", "handler", "path", "path_template", "http_route", "uri", "endpoint", "view", "operation"}
_PATHS = 200
_RANDOM_METHODS = 25
_ALLOWED_GROWTH = 40
_BURST = 10


def _requests(service: Service) -> Judgement:
    service.client.get(service.readable_path)
    found = read_metrics(service)
    counters = counters_of(found)
    if not counters:
        return failed("No counter has labels for the method and the status of requests.")
    routed = [sample for sample in counters if sample.labels.keys() & _ROUTES]
    if not routed:
        labels = ", ".join(sorted(counters[0].labels))
        return failed(f"{counters[0].name} has no label for the route.", Evidence("labels", labels))
    shown = "\n".join(f"{sample.name} {dict(sample.labels)} {sample.value:g}" for sample in routed[:5])
    return passed(f"{routed[0].name} counts by method, route and status.", Evidence("samples", shown))


def _errors(service: Service) -> Judgement:
    before, _ = warm(service)
    wrong = service.client.send("PATCH", service.liveness or service.readable_path, body=b"")
    missing = service.client.send("GET", service.missing_path)
    expected = [str(exchange.status) for exchange in (wrong, missing)]
    for _ in range(SETTLE_ROUNDS):
        time.sleep(SETTLE_S)
        after = counters_of(read_metrics(service))
        lost = [status for status in expected if not _has_grown(before, after, status)]
        if not lost:
            return passed(f"Responses with {' and '.join(expected)} are counted.")
    return failed(
        f"A response with {lost[0]} is not counted.", missing.evidence("404"), wrong.evidence("PATCH")
    )


def _has_grown(before: list[Sample], after: list[Sample], status: str) -> bool:
    def same(sample: Sample) -> bool:
        value = status_of(sample)
        return value == status or (len(value) == 3 and value.endswith("xx") and value[0] == status[0])

    return total(after, same) > total(before, same)


def _complete(service: Service) -> Judgement:
    path = service.readable_path
    client, _ = endpoint(service)
    counters, per_read = warm(service)
    before = total(counters)
    for _ in range(_BURST):
        service.client.get(path)
    grown = 0.0
    for reads in range(1, SETTLE_ROUNDS + 1):
        time.sleep(SETTLE_S)
        grown = total(counters_of(read_metrics(service))) - before - reads * per_read
        if grown == _BURST:
            return passed(f"{_BURST} requests raised the counters by {_BURST}.")
    evidence = Evidence(
        "numbers", f"sent {_BURST}, counted {grown:g} ({path}, metrics of {client.address.url})"
    )
    if grown > _BURST:
        raise Undecided(
            "More requests were counted than sent: repeat the row while no other client is active."
        )
    return failed(f"Of {_BURST} requests, {grown:g} were counted.", evidence)


def _cardinality(service: Service) -> Judgement:
    warm(service)
    before = len(read_metrics(service).samples)
    for _ in range(_PATHS):
        service.client.get(f"/seatrial/{tokens.token_hex(8)}")
    for number in range(_RANDOM_METHODS):
        service.client.send(f"SEATRIAL{number}", service.readable_path)
    after = read_metrics(service)
    growth = len(after.samples) - before
    evidence = Evidence("series", f"before {before}, after {len(after.samples)}")
    if growth > _ALLOWED_GROWTH:
        return failed(f"{_PATHS} paths and {_RANDOM_METHODS} methods made {growth} new series.", evidence)
    return passed(f"{_PATHS} paths and {_RANDOM_METHODS} methods made {max(growth, 0)} new series.", evidence)


_row = partial(Row[Service], category=Category.METRICS, command="check", severity=Severity.MEDIUM)
_PRACTICES = "https://prometheus.io/docs/practices/"

ROWS = (
    _row(
        id="metrics-requests",
        title="Requests are counted by method, route and status",
        severity=Severity.HIGH,
        why="The share of errors by route is the first question of each incident. "
        "Without these labels, the answer needs logs.",
        source=f"{_PRACTICES}instrumentation/",
        how="A counter, or the count of a histogram, has labels for all three.",
        fix="Count requests at the outermost layer, with the route's template as a label.",
        remedies=(
            Remedy(
                "FastAPI/uvicorn", "OpenTelemetry's instrumentation, or prometheus-fastapi-instrumentator."
            ),
        ),
        judge=_requests,
    ),
    _row(
        id="metrics-errors-counted",
        title="404 and 405 are counted",
        why="Errors of routing never reach a handler, so that instrumentation of handlers misses them. "
        "A deployment that loses a route then produces no alert.",
        source=f"{_PRACTICES}instrumentation/",
        how="A request to an unknown path, and PATCH to a probe, raise the counter of their status.",
        fix="Count requests at the outermost layer.",
        judge=_errors,
    ),
    _row(
        id="metrics-complete",
        title="All requests are counted",
        why="Rates and objectives are computed from these counters. "
        "Workers whose counts are not merged make them wrong by a factor.",
        source=f"{_PRACTICES}instrumentation/",
        how=f"{_BURST} requests raise the counters by {_BURST}; more is unknown, as other clients may be "
        f"active.",
        fix="Merge the counters of all workers into one page.",
        remedies=(Remedy("FastAPI/uvicorn", "prometheus_client's multiprocess mode, with --workers."),),
        judge=_complete,
    ),
    _row(
        id="metrics-cardinality",
        title="Clients cannot create series",
        severity=Severity.HIGH,
        is_attack=True,
        why="Each series costs memory in the service and in Prometheus. "
        "If a client chooses labels, one scanner fills both.",
        source=f"{_PRACTICES}naming/#labels",
        how=f"{_PATHS} random paths and {_RANDOM_METHODS} random methods make at most {_ALLOWED_GROWTH} "
        f"series.",
        fix="Use the template of the route, one value for unknown paths, and one for unknown methods.",
        judge=_cardinality,
    ),
)
