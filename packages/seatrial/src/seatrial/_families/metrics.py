"""Rows about metrics."""

import math
from functools import partial

from .._rows.row import Category, Remedy, Row, Severity
from .._rows.verdict import Evidence, Judgement, Undecided, failed, not_applicable, passed
from .._target.client import response_of
from .._target.service import Service, is_metrics
from .exposition import FormatError, buckets, parse
from .scrape import endpoint, read_metrics

_BUCKETS = 5


def _exists(service: Service) -> Judgement:
    if service.metrics is None:
        return failed("No usual path has metrics; set paths.metrics, or pass --admin URL of their port.")
    client, path = service.metrics
    client.get(path)
    return passed(f"Metrics are at {client.address.url}{path}.")


def _format(service: Service) -> Judgement:
    client, path = endpoint(service)
    exchange = client.send("GET", path)
    response = exchange.responses[0] if exchange.responses else client.get(path)
    try:
        found = parse(response.text)
    except FormatError as error:
        return failed(
            f"The metrics are not in Prometheus's text format: {error}.", Evidence("error", str(error))
        )
    if response.media_type not in {"text/plain", "application/openmetrics-text"}:
        return failed(f"The type is {response.media_type!r}, not text/plain.", exchange.evidence(path))
    return passed(f"{len(found.samples)} samples of {len(found.types)} families.")


def _openmetrics(service: Service) -> Judgement:
    client, path = endpoint(service)
    accept = "application/openmetrics-text;version=1.0.0,text/plain;q=0.1"
    response = client.get(path, headers=[("Accept", accept)])
    if response.media_type != "application/openmetrics-text":
        return not_applicable("OpenMetrics is not offered.")
    lines = response.text.rstrip("\n").split("\n")
    if lines[-1] != "# EOF":
        return failed("OpenMetrics must end with `# EOF`.", Evidence("last line", lines[-1][:200]))
    try:
        found = parse(response.text)
    except FormatError as error:
        return failed(f"OpenMetrics does not parse: {error}.", Evidence("error", str(error)))
    wrong = [
        sample.name
        for family, kind in found.types.items()
        if kind == "counter"
        for sample in found.named(family)
    ]
    if wrong:
        return failed(f"The counter {wrong[0]} must have the suffix _total.", Evidence("counter", wrong[0]))
    return passed(f"{len(found.samples)} samples as OpenMetrics.")


def _histogram(service: Service) -> Judgement:
    service.client.get(service.readable_path)
    found = read_metrics(service)
    families = [
        name
        for name, kind in found.types.items()
        if kind == "histogram"
        and "request" in name
        and ("duration" in name or "latency" in name or "time" in name)
    ]
    if not families:
        return failed("No histogram of the duration of requests was found.")
    family = min(families, key=lambda name: ("client" in name, not name.endswith("_seconds"), name))
    every = buckets(found, family)
    text = "\n".join(", ".join(f"{bound:g}" for bound in bounds) for bounds in every[:3])
    evidence = Evidence(family, text or "no buckets")
    if not family.endswith("_seconds"):
        return failed(f"{family} is not in seconds.", evidence)
    for bounds in every:
        if bounds != sorted(bounds) or not bounds or bounds[-1] != math.inf:
            return failed(f"The buckets of {family} do not ascend to +Inf.", evidence)
        finite = bounds[:-1]
        if len(finite) < _BUCKETS or finite[0] > 0.1 or finite[-1] < 1:
            return failed(
                f"The buckets of {family} do not cover 0.1 to 1 s with {_BUCKETS} bounds.", evidence
            )
    if not every:
        raise Undecided(f"{family} has no samples yet.")
    return passed(f"{family} has {len(every[0])} buckets.", evidence)


def _private(service: Service) -> Judgement:
    endpoint(service)
    paths = ["/metrics", *([service.metrics[1]] if service.metrics else [])]
    for path in dict.fromkeys(paths):
        exchange = service.client.send("GET", path)
        if is_metrics(response_of(exchange)):
            return failed(f"{service.client.address.url}{path} has metrics.", exchange.evidence(path))
    return passed("The public address has no metrics.")


def _process(service: Service) -> Judgement:
    names = {sample.name for sample in read_metrics(service).samples}
    groups = {
        "the CPU time": ("process_cpu_seconds_total", "process_cpu_time", "process_cpu_usage"),
        "the memory": ("process_resident_memory_bytes", "process_memory_usage", "jvm_memory_used_bytes"),
        "the start": ("process_start_time_seconds", "process_uptime_seconds"),
    }
    for name, known in groups.items():
        if not any(metric.startswith(known) or any(item in metric for item in known) for metric in names):
            return failed(f"No metric has {name} of the process.", Evidence("expected", " or ".join(known)))
    return passed("Metrics have the CPU time, memory and start of the process.")


_row = partial(
    Row[Service],
    category=Category.METRICS,
    command="check",
    source="https://prometheus.io/docs/instrumenting/exposition_formats/",
    severity=Severity.MEDIUM,
)
_PRACTICES = "https://prometheus.io/docs/practices/"
_CLIENTS = (
    Remedy("FastAPI/uvicorn", "prometheus-fastapi-instrumentator, or OpenTelemetry's instrumentation."),
    Remedy("Litestar/Starkeel", "starkeel_observability.ObservabilityPlugin."),
    Remedy("Fastify", "fastify-metrics."),
)

ROWS = (
    _row(
        id="metrics-exist",
        title="Metrics exist",
        severity=Severity.HIGH,
        why="Alerts on errors and latency need numbers that exist before the incident. "
        "Logs of a busy service are too expensive to be counted.",
        how="The configured path, or a usual one, has Prometheus's text format, on --admin if it is given.",
        fix="Expose Prometheus metrics on a port of their own.",
        remedies=_CLIENTS,
        judge=_exists,
    ),
    _row(
        id="metrics-format",
        title="Metrics parse",
        why="Prometheus drops the whole scrape if one line is malformed. "
        "All alerts of the service are blind then.",
        how="Each line is a comment, type or sample, no series is repeated, and the type is text/plain.",
        fix="Use a client library of Prometheus instead of formatting lines.",
        judge=_format,
    ),
    _row(
        id="metrics-openmetrics",
        title="OpenMetrics parses where offered",
        why="Prometheus prefers OpenMetrics where a service offers it. "
        "A fault there is not noticed by reading the page with a browser.",
        source="https://prometheus.io/docs/specs/om/open_metrics_spec/",
        how="With `Accept: application/openmetrics-text`: it parses, ends with `# EOF`, and counters have "
        "the "
        "suffix _total.",
        fix="Use a client library of Prometheus, or do not offer OpenMetrics.",
        judge=_openmetrics,
    ),
    _row(
        id="metrics-histogram",
        title="A histogram has the duration of requests in seconds",
        why="Averages hide the slow requests that users notice. "
        "Buckets that do not cover the usual durations make percentiles meaningless.",
        source=f"{_PRACTICES}histograms/",
        how=f"A histogram ends in _seconds, ascends to +Inf, and has {_BUCKETS} bounds that cover 0.1 to 1.",
        fix="Use seconds and the default buckets of the client library, or your objectives.",
        judge=_histogram,
    ),
    _row(
        id="metrics-not-public",
        title="The public address has no metrics",
        why="Metrics show routes, load, versions and failures to everyone. "
        "Reading them is also expensive, and not limited.",
        source="OWASP API Security Top 10 2023, API8: Security Misconfiguration",
        how="The paths of the metrics are not served by the public URL.",
        fix="Serve metrics on another port, which no ingress routes to.",
        judge=_private,
    ),
    _row(
        id="metrics-process",
        title="Metrics describe the process",
        severity=Severity.LOW,
        why="Memory that grows and unnoticed restarts are read from these metrics. They cost nothing.",
        source="https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics",
        how="Metrics have the CPU time, resident memory and start of the process.",
        fix="Register the process collector of the client library.",
        remedies=(Remedy("Fastify", "collectDefaultMetrics of prom-client."),),
        judge=_process,
    ),
)
