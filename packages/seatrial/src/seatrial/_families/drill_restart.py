"""Row about the restart of a service behind a load balancer."""

from .._drill.drill import Drill
from .._drill.load import summary
from .._drill.restart import rolling_restart
from .._rows.row import Category, Remedy, Row, Severity
from .._rows.verdict import Evidence, Judgement, failed, passed


def _nothing_lost(drill: Drill) -> Judgement:
    found = rolling_restart(drill)
    evidence = Evidence(
        "requests through the balancer", f"new: {summary(found.new)}\nkept: {summary(found.kept)}"
    )
    count = len(found.new) + len(found.kept)
    if found.lost:
        return failed(
            f"{len(found.lost)} of {count} requests were lost while two instances were restarted one after "
            f"another, the first: {found.lost[0]}.",
            evidence,
        )
    return passed(
        f"Two instances were restarted one after another in {found.seconds:.1f} s, and none of {count} "
        "requests was lost.",
        evidence,
    )


ROWS = (
    Row[Drill](
        id="lifecycle-rolling-restart",
        title="A restart behind a load balancer loses nothing",
        category=Category.LIFECYCLE,
        severity=Severity.CRITICAL,
        command="drill",
        why="Every deployment restarts every instance. "
        "What one restart loses is lost with each deployment, and read as random failures.",
        source="https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-termination",
        how="Two instances are behind a balancer that probes readiness ten times a second and repeats "
        "nothing. Under load, each gets SIGTERM and is started again on its port, one after the other: each "
        "request has a complete response below 500.",
        fix="After SIGTERM, answer readiness with 503 and serve on until balancers have noticed; close kept "
        "connections by `Connection: close` in a response.",
        remedies=(
            Remedy("FastAPI/uvicorn", "A preStop hook that sleeps, as uvicorn closes its listener at once."),
            Remedy("Fastify", "On SIGTERM, let readiness fail, and call app.close() seconds later."),
        ),
        judge=_nothing_lost,
    ),
)
