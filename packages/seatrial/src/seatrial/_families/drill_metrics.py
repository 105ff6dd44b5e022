"""Rows about metrics under load, and after the crash of a worker."""

import contextlib
import math
import os
import secrets
import signal
import time
from functools import partial

from .._drill.crashes import serving_process
from .._drill.drill import Drill
from .._drill.instance import Instance
from .._drill.load import ends_connection, receive_response
from .._drill.processes import is_running
from .._drill.stops import opened
from .._drill.waiting import until
from .._rows.row import Category, Remedy, Row, Severity
from .._rows.verdict import Evidence, Judgement, Undecided, failed, passed
from .._target.exchange import request_bytes
from .._target.service import Service
from .scrape import counters_of, read_metrics, total

_REQUESTS = 300
_PATHS = 2000
_METHODS = 50
_ALLOWED_GROWTH = 40
_ARRIVAL_S = 5.0
_AGREEING_READS = 4
_BETWEEN_READS_S = 0.1


def _total(drill: Drill) -> Judgement:
    instance = drill.calm
    service = drill.service(instance)
    _require_metrics(service)
    path = drill.config.safe_read.path or service.missing_path
    _send(drill, instance, [drill.request(instance, path, is_last=False)])
    per_read = _growth_per_read(service)
    before = _counted(service)
    _send(drill, instance, [drill.request(instance, path, is_last=False)] * _REQUESTS)
    grown, reads = 0.0, 0
    deadline = time.monotonic() + _ARRIVAL_S
    while grown < _REQUESTS and time.monotonic() < deadline:
        reads += 1
        grown = _counted(service) - before - reads * per_read
    evidence = Evidence("numbers", f"sent {_REQUESTS}, counted {grown:g}")
    if grown != _REQUESTS:
        return failed(f"{_REQUESTS} requests raised the counters by {grown:g}.", evidence)
    return passed(f"{_REQUESTS} requests raised the counters by {grown:g}.", evidence)


def _counted(service: Service) -> float:
    counters = counters_of(read_metrics(service))
    if not counters:
        raise Undecided("No counter of requests was found: see metrics-requests of `seatrial check`.")
    return total(counters)


def _growth_per_read(service: Service) -> float:
    """Return how much reading the metrics raises the counters, which is 0 on a port of their own.

    Requests before may be counted only now, so that several reads in a row must agree.
    """
    until(lambda: bool(counters_of(read_metrics(service))), _ARRIVAL_S)
    deadline = time.monotonic() + _ARRIVAL_S
    counted, growths = _counted(service), [math.nan]
    while len(growths) < _AGREEING_READS and time.monotonic() < deadline:
        time.sleep(_BETWEEN_READS_S)
        before, counted = counted, _counted(service)
        growth = counted - before
        growths = [*growths, growth] if growth == growths[-1] else [growth]
    return growths[-1]


def _send(drill: Drill, instance: Instance, requests: list[bytes]) -> None:
    """Send requests one after another, on kept connections as far as the service keeps them."""
    with contextlib.ExitStack() as stack:
        connection = None
        for request in requests:
            drill.budget.spend_request()
            connection = connection or stack.enter_context(opened(instance))
            connection.sendall(request)
            response = receive_response(connection, time.monotonic() + drill.config.timeout_s)
            if response is None:
                first = request.partition(b"\r\n")[0].decode("latin-1")
                raise ConnectionError(f"no response to `{first}`")
            if ends_connection(response):
                stack.close()
                connection = None


def _require_metrics(service: Service) -> None:
    if service.metrics is None:
        raise Undecided(
            "No metrics were found: set paths.metrics, or drill.admin_port_variable if they have a port of "
            "their own, in seatrial.toml."
        )


def _cardinality(drill: Drill) -> Judgement:
    instance = drill.calm
    service = drill.service(instance)
    authority = instance.address.authority
    _require_metrics(service)
    paths = [f"/{secrets.token_hex(8)}/{secrets.token_hex(4)}" for _ in range(_PATHS)]
    requests = [request_bytes("GET", path, authority, [], None) for path in paths]
    readable = drill.config.safe_read.path or service.readable_path
    methods = [
        request_bytes(f"SEATRIAL{number}", readable, authority, [("Connection", "close")], None)
        for number in range(_METHODS)
    ]
    # The series of a missing path, and of a method that is not allowed, exist before.
    _send(drill, instance, [requests[0]])
    service.client.send("PATCH", readable)
    before = len(read_metrics(service).samples)
    _send(drill, instance, requests)
    for method in methods:
        service.client.raw(method, wait_for_close_s=0.0)
    after = len(read_metrics(service).samples)
    evidence = Evidence("series", f"before {before}, after {after}")
    if after - before > _ALLOWED_GROWTH:
        return failed(f"{_PATHS} paths and {_METHODS} methods made {after - before} new series.", evidence)
    return passed(
        f"{_PATHS} paths and {_METHODS} methods made {max(after - before, 0)} new series.", evidence
    )


def _replacement(drill: Drill) -> Judgement:
    with drill.instance() as instance:
        service = drill.service(instance)
        _require_metrics(service)
        path = drill.config.safe_read.path or service.missing_path
        requests = [drill.request(instance, path, is_last=False)] * 20
        _send(drill, instance, requests)
        # What was counted last may be shown later.
        before = max(_counted(service), _counted(service))
        worker = serving_process(drill, instance)
        os.kill(worker, signal.SIGKILL)
        until(lambda: not is_running(worker), _ARRIVAL_S)
        if not drill.wait_until_answering(instance, drill.keys.start_s):
            raise Undecided("No request is answered after the crash: see lifecycle-worker-crash.")
        _send(drill, instance, requests[:1])
        after = _counted(service)
    evidence = Evidence("sum of the counters", f"before {before:g}, after {after:g}")
    if after < before:
        return failed(f"The counters went from {before:g} to {after:g}.", evidence)
    return passed("The counters did not go backwards.", evidence)


_row = partial(Row[Drill], category=Category.METRICS, command="drill", severity=Severity.MEDIUM)
_PRACTICES = "https://prometheus.io/docs/practices/"

ROWS = (
    _row(
        id="metrics-total",
        title="The counters equal the requests that were sent",
        why="Rates and shares of errors are computed from them. "
        "Counters that lose some under load are wrong when they matter.",
        source=f"{_PRACTICES}instrumentation/",
        how=f"{_REQUESTS} requests on one connection raise the counters of requests by {_REQUESTS}.",
        fix="Count each request at its end, in the outermost layer, atomically.",
        judge=_total,
    ),
    _row(
        id="metrics-cardinality-flood",
        title="Thousands of paths make no series",
        severity=Severity.HIGH,
        why="Each series takes memory in the service and in Prometheus, for good. "
        "Scanners request thousands of paths a day.",
        source=f"{_PRACTICES}naming/#labels",
        how=f"{_PATHS} random paths and {_METHODS} unknown methods make at most {_ALLOWED_GROWTH} new "
        "series.",
        fix="Label by the template of the route, one value for unknown paths and one for unknown methods.",
        remedies=(
            Remedy("FastAPI/uvicorn", "should_group_untemplated of prometheus-fastapi-instrumentator."),
        ),
        judge=_cardinality,
    ),
    _row(
        id="metrics-worker-replacement",
        title="Counters survive the replacement of a worker",
        why="A counter that goes backwards is taken for a restart, and its rate for a peak. "
        "Counters of each worker that are read in turn do so all the time.",
        source=f"{_PRACTICES}instrumentation/#counter-vs-gauge-summary-vs-histogram",
        how="The worker that serves is killed; the sum of the counters is at least what it was. Not "
        "applicable with one process.",
        fix="Keep counters in files or memory that all workers share.",
        remedies=(Remedy("gunicorn", "PROMETHEUS_MULTIPROC_DIR, without mark_process_dead for counters."),),
        lane="beside",
        judge=_replacement,
    ),
)
