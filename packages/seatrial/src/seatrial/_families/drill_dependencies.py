"""Rows about a service whose database is away, or which is saturated."""

import time
from functools import partial

from .._drill.drill import Drill
from .._drill.load import Load, Outcome, summary
from .._drill.outage import Outage, outage
from .._rows.row import Category, Remedy, Row, Severity
from .._rows.verdict import Evidence, Judgement, Undecided, failed, passed
from .._target.client import response_of

_OK = (200, 204)
_UNAVAILABLE = (503, 504)
_SATURATING = 100
_PROBES = 10
_PROBE_S = 1.0
_SETTLE_S = 0.3
_KUBERNETES = "https://kubernetes.io/docs/concepts/configuration/liveness-readiness-startup-probes/"


def _liveness(drill: Drill) -> Judgement:
    found = outage(drill)
    if not found.liveness:
        raise Undecided("No liveness probe was found: set paths.liveness in seatrial.toml.")
    evidence = Evidence("statuses of liveness during the outage", str(found.liveness))
    wrong = [status for status in found.liveness if status not in _OK]
    if wrong:
        return failed(f"With the database away, liveness is answered {wrong[0] or 'not at all'}.", evidence)
    return passed("With the database away, liveness is answered 200.", evidence)


def _readiness(drill: Drill) -> Judgement:
    found = outage(drill)
    if found.not_ready_s is None:
        return failed(f"Readiness is still 200 {found.seconds:.1f} s after the database was stopped.")
    if found.ready_again_s is None:
        return failed(f"Readiness is not 200 {drill.keys.start_s:g} s after the database is back.")
    return passed(
        f"Readiness turned 503 {found.not_ready_s:.2f} s after the database was stopped, and 200 "
        f"{found.ready_again_s:.2f} s after it was started."
    )


def _outage_status(drill: Drill) -> Judgement:
    found = outage(drill)
    _require_load(drill, found)
    assert found.load is not None
    during = found.during(found.load)
    evidence = Evidence("requests during the outage", summary(during))
    wrong = [each for each in during if each.outcome is not Outcome.ANSWERED]
    if wrong:
        return failed(f"{len(wrong)} of {len(during)} requests got no response: {wrong[0]}.", evidence)
    wrong = [each for each in during if each.status >= 500 and each.status not in _UNAVAILABLE]
    if wrong:
        return failed(f"{len(wrong)} of {len(during)} requests were answered {wrong[0].status}.", evidence)
    if not any(each.status in _UNAVAILABLE for each in during):
        raise Undecided(
            "No request failed during the outage: set drill.database_path to a GET that needs it."
        )
    return passed(f"{len(during)} requests were answered, those that failed with 503 or 504.", evidence)


def _outage_recovery(drill: Drill) -> Judgement:
    found = outage(drill)
    _require_load(drill, found)
    if found.recovered_s is None:
        return failed(
            f"GET {drill.database_path} still fails {drill.keys.start_s:g} s after the database is back.",
            Evidence("last statuses", str(found.last_statuses)),
        )
    return passed(f"Requests succeed {found.recovered_s:.2f} s after the database is back.")


def _require_load(drill: Drill, found: Outage) -> None:
    if found.load is None:
        raise Undecided("Set drill.database_path to a GET that needs the database in seatrial.toml.")
    if not any(each.status in _OK for each in found.before(found.load)):
        raise Undecided(f"GET {drill.database_path} fails already before the outage: correct it.")


def _saturated(drill: Drill) -> Judgement:
    if not drill.keys.slow_path:
        raise Undecided("Set drill.slow_path to a GET that takes one to three seconds in seatrial.toml.")
    with drill.instance() as instance:
        service = drill.service(instance)
        paths = [path for path in (service.liveness, service.readiness) if path]
        if not paths:
            raise Undecided("No probe was found: set paths.liveness and paths.readiness in seatrial.toml.")
        request = drill.request(instance, drill.keys.slow_path, is_last=False)
        load = Load(instance.address, request, request, clients=_SATURATING // 2)
        load.start()
        try:
            time.sleep(_SETTLE_S)
            for number in range(_PROBES):
                path = paths[number % len(paths)]
                exchange = service.client.send("GET", path)
                if response_of(exchange).status not in _OK or exchange.seconds > _PROBE_S:
                    return failed(
                        f"With {_SATURATING} slow requests, {path} is answered {exchange.status} after "
                        f"{exchange.seconds:.2f} s.",
                        exchange.evidence(path),
                    )
        except (TimeoutError, OSError) as error:
            return failed(f"With {_SATURATING} slow requests, a probe is not answered: {error}.")
        finally:
            load.abandon()
    return passed(f"With {_SATURATING} slow requests, {_PROBES} probes were answered within {_PROBE_S:g} s.")


_health = partial(Row[Drill], category=Category.HEALTH, command="drill", source=_KUBERNETES)
_data = partial(
    Row[Drill],
    category=Category.DATA,
    command="drill",
    source="RFC 9110, section 15.6.4; https://www.rfc-editor.org/rfc/rfc9110#section-15.6.4",
)

ROWS = (
    _health(
        id="health-liveness-without-database",
        title="Liveness does not depend on the database",
        severity=Severity.CRITICAL,
        why="A liveness probe that fails restarts the process, which does not bring the database back. "
        "All instances restart together, and the outage lasts longer.",
        how="drill.database_stop is run; liveness is answered 200 or 204 all the time.",
        fix="Check nothing in the liveness probe but that the process answers.",
        lane="last",
        judge=_liveness,
    ),
    _health(
        id="health-readiness-with-database",
        title="Readiness depends on the database, and recovers",
        severity=Severity.HIGH,
        why="An instance that has lost its database should get no requests. "
        "One that does not become ready again needs an operator.",
        how="Readiness turns 503 while the database is stopped, and 200 after it was started.",
        fix="Check the database in the readiness probe, with a short timeout.",
        lane="last",
        judge=_readiness,
    ),
    _health(
        id="health-saturated",
        title="Probes answer while the service is saturated",
        severity=Severity.HIGH,
        why="Probes that wait behind requests fail when there are most. "
        "Instances are then removed or restarted, and the others get their load.",
        how=f"While {_SATURATING} clients request drill.slow_path, {_PROBES} probes are answered with 200 "
        f"within {_PROBE_S:g} s each.",
        fix="Serve probes apart from the pool of threads and connections that requests use.",
        remedies=(Remedy("FastAPI/uvicorn", "`async def` for the probes: `def` waits for a thread."),),
        judge=_saturated,
    ),
    _data(
        id="data-outage-status",
        title="Without the database, requests are answered 503",
        severity=Severity.HIGH,
        why="503 makes clients and proxies try again later. "
        "A 500 is a fault of the program, and no response ties up the client.",
        how="Clients request drill.database_path while the database is stopped: each gets a response, and "
        "no 5xx but 503, or 504 after a timeout.",
        fix="Map connection errors and timeouts of the database to 503 with Retry-After.",
        lane="last",
        judge=_outage_status,
    ),
    _data(
        id="data-outage-recovery",
        title="Requests succeed once the database is back",
        severity=Severity.CRITICAL,
        why="Databases restart for updates and failovers. "
        "A pool that keeps dead connections fails until the service is restarted.",
        how="After drill.database_start, drill.database_path succeeds within drill.start_s.",
        fix="Verify connections of the pool before use, and replace those that fail.",
        remedies=(Remedy("SQLAlchemy", "create_engine(..., pool_pre_ping=True)"),),
        lane="last",
        judge=_outage_recovery,
    ),
)
