"""Rows about health probes."""

from functools import partial

from .._rows.row import Category, Remedy, Row, Severity
from .._rows.verdict import Judgement, Undecided, failed, passed
from .._target.client import response_of
from .._target.exchange import Exchange
from .._target.service import GENERAL, Service
from .internals import find_internals

_LARGEST_BODY = 4096
_BURST = 40
_SLOWEST_S = 1.0
_KUBERNETES = "https://kubernetes.io/docs/concepts/configuration/liveness-readiness-startup-probes/"
_ANSWERS = (200, 204, 503)


def _paths(service: Service) -> list[str]:
    found = dict.fromkeys(path for path in (service.liveness, service.readiness) if path)
    if not found:
        raise Undecided("No health probe was found: set paths.liveness and paths.readiness in seatrial.toml.")
    return list(found)


def _probes(service: Service) -> list[Exchange]:
    return [_probe(service, path) for path in _paths(service)]


def _probe(service: Service, path: str) -> Exchange:
    """Return an exchange with a response; raises OSError without one."""
    exchange = service.client.send("GET", path)
    response_of(exchange)
    return exchange


def _exists(name: str, service: Service) -> Judgement:
    path = getattr(service, name)
    if path is None:
        if service.answers_everything:
            raise Undecided(
                f"Every path of the service succeeds, so that none can be found: set paths.{name} in "
                f"seatrial.toml."
            )
        return failed(f"No usual path of a {name} probe answers; if it has another, set paths.{name}.")
    exchange = service.client.send("GET", path)
    evidence = exchange.evidence(path)
    if exchange.status in _ANSWERS:
        return passed(f"{path} answers {exchange.status}.", evidence)
    return failed(f"{path} answers {exchange.status or 'nothing'}.", evidence)


def _distinct(service: Service) -> Judgement:
    if service.readiness is None and service.liveness in GENERAL:
        return failed(f"{service.liveness} is the only probe.")
    if not service.liveness or not service.readiness:
        raise Undecided("Only one probe was found: set paths.liveness and paths.readiness in seatrial.toml.")
    if service.liveness == service.readiness:
        return failed(f"Both probes are {service.liveness}.")
    _probes(service)
    return passed(f"Liveness is {service.liveness}, readiness is {service.readiness}.")


def _unauthenticated(service: Service) -> Judgement:
    for exchange in _probes(service):
        if exchange.status in {401, 403}:
            return failed("A probe needs a credential.", exchange.evidence("probe"))
        if exchange.status not in _ANSWERS:
            raise Undecided(f"A probe answers {exchange.status or 'nothing'}: set paths in seatrial.toml.")
    return passed("Probes answer without a credential.")


def _uncached(service: Service) -> Judgement:
    for exchange in _probes(service):
        policy = exchange.responses[0].get("cache-control").lower() if exchange.responses else ""
        if not any(directive in policy for directive in ("no-store", "no-cache", "max-age=0")):
            return failed("A probe does not forbid caching.", exchange.evidence("probe"))
    return passed("Probes forbid caching.")


def _small(service: Service) -> Judgement:
    sizes = []
    for exchange in _probes(service):
        size = len(exchange.responses[0].body) if exchange.responses else 0
        if size > _LARGEST_BODY:
            return failed(f"The body of a probe has {size} bytes.", exchange.evidence("probe"))
        sizes.append(size)
    return passed(f"Bodies have {max(sizes)} bytes at most.")


def _no_internals(service: Service) -> Judgement:
    for exchange in _probes(service):
        for response in exchange.responses:
            if found := find_internals(response.text):
                return failed(f"A probe shows {found}.", exchange.evidence("probe"))
    return passed("Probes show no address, path, version or error of a library.")


def _unlimited(service: Service) -> Judgement:
    path = _paths(service)[0]
    for _ in range(_BURST):
        exchange = service.client.send("GET", path)
        if exchange.status not in _ANSWERS:
            return failed(
                f"One of {_BURST} probes in a row got {exchange.status or 'no response'}.",
                exchange.evidence(path),
            )
    return passed(f"{_BURST} probes in a row were answered.")


def _fast(service: Service) -> Judgement:
    slowest = max((exchange for path in _paths(service) for exchange in _thrice(service, path)), key=_seconds)
    if slowest.seconds > _SLOWEST_S:
        return failed(f"A probe took {slowest.seconds:.2f} s.", slowest.evidence("slowest probe"))
    return passed(f"The slowest probe took {slowest.seconds * 1000:.0f} ms.")


def _thrice(service: Service, path: str) -> list[Exchange]:
    return [_probe(service, path) for _ in range(3)]


def _seconds(exchange: Exchange) -> float:
    return exchange.seconds


_row = partial(Row[Service], category=Category.HEALTH, command="check", source=_KUBERNETES)

ROWS = (
    _row(
        id="health-liveness",
        title="A liveness probe exists",
        severity=Severity.HIGH,
        why="A process that hangs without exiting is restarted only if a probe notices. "
        "Without an endpoint for it, operators probe a page that fails for other reasons.",
        how="The configured path, or one of the usual ones, answers GET with 200, 204 or 503.",
        fix="Add a route such as /health/live that returns 200 and checks no dependency.",
        remedies=(Remedy("FastAPI/uvicorn", "@app.get('/health/live', include_in_schema=False)"),),
        judge=partial(_exists, "liveness"),
    ),
    _row(
        id="health-readiness",
        title="A readiness probe exists",
        severity=Severity.HIGH,
        why="Load balancers send requests to instances that are not ready unless a probe reports it. "
        "Each start and stop then fails requests.",
        how="The configured path, or one of the usual ones, answers GET with 200, 204 or 503.",
        fix="Add a route such as /health/ready that returns 503 until dependencies answer, and while "
        "stopping.",
        remedies=(Remedy("Fastify", "@fastify/under-pressure with exposeStatusRoute"),),
        judge=partial(_exists, "readiness"),
    ),
    _row(
        id="health-distinct",
        title="Liveness and readiness are distinct",
        severity=Severity.HIGH,
        why="Readiness fails while a dependency is away. "
        "If liveness is the same, all instances restart together and the outage lasts longer.",
        how="Two probes are found, at different paths. A general path such as /health alone is a failure.",
        fix="Give liveness a path of its own that checks no dependency.",
        judge=_distinct,
    ),
    _row(
        id="health-unauthenticated",
        title="Probes need no credential",
        severity=Severity.MEDIUM,
        why="A probe that needs a credential fails when it is rotated, and healthy instances are restarted. "
        "The credential also has to be copied into each manifest.",
        how="No probe answers 401 or 403 to a request without a credential.",
        fix="Exempt the probes from authentication.",
        judge=_unauthenticated,
    ),
    _row(
        id="health-uncached",
        title="Probes forbid caching",
        severity=Severity.LOW,
        why="A cache in front can answer for an instance that is gone. "
        "A status without freshness information may be stored and reused.",
        source="RFC 9111, section 5.2.2; https://www.rfc-editor.org/rfc/rfc9111#section-5.2.2",
        how="`Cache-Control` of each probe has no-store, no-cache or max-age=0.",
        fix="Cache-Control: no-store on the probes.",
        judge=_uncached,
    ),
    _row(
        id="health-small",
        title="Probes have small bodies",
        severity=Severity.LOW,
        why="Probes are sent every few seconds by every balancer and node. "
        "A large body is work that grows with them, and kubelet reads 10 kB of it at most.",
        how=f"The body of each probe has at most {_LARGEST_BODY} bytes.",
        fix="Return the names of the checks and their state only; details belong to the log and to metrics.",
        judge=_small,
    ),
    _row(
        id="health-no-internals",
        title="Probes show no internals",
        severity=Severity.MEDIUM,
        why="Probes are public on most balancers. "
        "Addresses, versions and error texts of dependencies are a map for an intruder.",
        source="OWASP API Security Top 10 2023, API8: Security Misconfiguration",
        how="The bodies are searched for private addresses, connection URLs, file paths, tracebacks and "
        "versions.",
        fix="Log the error of a check and return its name and state only.",
        judge=_no_internals,
    ),
    _row(
        id="health-unlimited",
        title="Probes are not rate limited",
        severity=Severity.MEDIUM,
        why="All probes of a node come from one address. "
        "A limit by address turns a healthy instance away, most likely under load.",
        how=f"{_BURST} probes in a row from one address are all answered with 200, 204 or 503.",
        fix="Exempt the probes from rate limits.",
        judge=_unlimited,
    ),
    _row(
        id="health-fast",
        title="Probes answer within a second",
        severity=Severity.MEDIUM,
        why="The default timeout of a Kubernetes probe is 1 second. "
        "A slower probe fails although the service works.",
        how=f"Three requests to each probe take at most {_SLOWEST_S:g} s each.",
        fix="Check dependencies in the background and return the last result.",
        judge=_fast,
    ),
)
