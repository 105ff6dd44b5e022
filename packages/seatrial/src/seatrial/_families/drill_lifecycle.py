"""Rows about the stop of a service."""

import contextlib
import signal
import time
from functools import partial

from .._drill.drill import Drill
from .._drill.instance import Instance
from .._drill.stops import Stop, opened, stop_under_load, stop_with
from .._drill.tracebacks import find_traceback
from .._rows.row import Category, Remedy, Row, Severity
from .._rows.verdict import Evidence, Judgement, NotApplicable, Undecided, failed, passed

_BETWEEN_SIGNALS_S = 0.3
_KUBERNETES = "https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-termination"


def _exits(drill: Drill) -> Judgement:
    stop = stop_under_load(drill)
    if stop.seconds is None:
        return failed(f"It still runs {drill.stop_s:g} s after SIGTERM.", stop.output)
    if stop.left_behind:
        names = ", ".join(stop.left_behind)
        return failed(f"It exits after SIGTERM, but processes of it go on: {names}.", stop.output)
    return passed(f"It exits {stop.seconds:.2f} s after SIGTERM, of {drill.stop_s:g} s.", stop.output)


def _require_exit(drill: Drill, stop: Stop) -> None:
    if stop.seconds is None:
        raise Undecided(f"It does not exit within {drill.stop_s:g} s: see lifecycle-stop.")


def _exit_code(drill: Drill) -> Judgement:
    stop = stop_under_load(drill)
    _require_exit(drill, stop)
    if stop.exit_code != 0:
        return failed(f"The exit code after SIGTERM is {stop.exit_code}.", stop.output)
    return passed("The exit code after SIGTERM is 0.")


def _in_flight(drill: Drill) -> Judgement:
    if not drill.keys.slow_path:
        raise Undecided("Set drill.slow_path to a GET that takes one to three seconds in seatrial.toml.")
    stop = stop_under_load(drill)
    if stop.slow is None:
        return failed(f"GET {drill.keys.slow_path} was cut, {_since(stop)} after the signal.", stop.output)
    evidence = Evidence("response", stop.slow.excerpt)
    if stop.slow_ended_at < stop.at:
        raise Undecided("The slow request ended before the signal: set drill.slow_path to a slower one.")
    if stop.slow.status >= 400:
        return failed(f"GET {drill.keys.slow_path} in flight was answered {stop.slow.status}.", evidence)
    return passed(f"The response in flight was complete {_since(stop)} after the signal.", evidence)


def _since(stop: Stop) -> str:
    return f"{stop.slow_ended_at - stop.at:.2f} s"


def _new_connections(drill: Drill) -> Judgement:
    stop = stop_under_load(drill)
    assert stop.load is not None
    return _without_losses(stop, "new", lost=len(stop.lost(stop.load.new)))


def _kept_connections(drill: Drill) -> Judgement:
    stop = stop_under_load(drill)
    assert stop.load is not None
    if not stop.load.is_reused:
        raise NotApplicable("It closes each connection after its response.")
    return _without_losses(stop, "kept", lost=len(stop.lost(stop.load.kept)))


def _without_losses(stop: Stop, kind: str, *, lost: int) -> Judgement:
    assert stop.load is not None
    attempts = stop.load.new if kind == "new" else stop.load.kept
    evidence = stop.summary(attempts)
    if lost:
        first = stop.lost(attempts)[0]
        return failed(
            f"{lost} of {len(attempts)} requests on {kind} connections were lost, the first "
            f"{first.ended_at - stop.at:.2f} s after the signal: {first}.",
            evidence,
        )
    return passed(f"No request of {len(attempts)} on {kind} connections was lost.", evidence)


def _readiness_first(drill: Drill) -> Judgement:
    stop = stop_under_load(drill)
    evidence = stop.summary(stop.probes)
    refused_at = next((each.at for each in stop.probes if not each.status), None)
    if stop.not_ready_at is None:
        return failed("Readiness never turned 503 after the signal.", evidence)
    if refused_at is None:
        raise Undecided("The listener never closed: see lifecycle-stop.")
    if refused_at < stop.not_ready_at:
        return failed("The listener closed before readiness turned 503.", evidence)
    return passed(
        f"Readiness turned 503 {stop.not_ready_at - stop.at:.2f} s after the signal, the listener closed "
        f"{refused_at - stop.not_ready_at:.2f} s later.",
        evidence,
    )


def _half_sent(drill: Drill) -> Judgement:
    def hold(instance: Instance, stack: contextlib.ExitStack) -> None:
        authority = instance.address.authority
        path = drill.config.safe_write.path or drill.readiness_path(drill.service(instance))
        head = f"POST {path} HTTP/1.1\r\nHost: {authority}\r\nContent-Type: application/json\r\n"
        for part in (f"GET {path} HTTP/1.1\r\nHost: {authority}\r\n", f"{head}Content-Length: 100\r\n\r\n{{"):
            connection = stack.enter_context(opened(instance))
            connection.sendall(part.encode())
        # The service has read them once it has answered a later request.
        drill.service(instance).client.get(path)

    stop = stop_with(drill, "half-sent requests", hold)
    if stop.seconds is None:
        return failed(
            f"With half-sent requests, it still runs {drill.stop_s:g} s after SIGTERM.", stop.output
        )
    return passed(f"With half-sent requests, it exits {stop.seconds:.2f} s after SIGTERM.")


def _second_signal(drill: Drill) -> Judgement:
    if not drill.keys.slow_path:
        raise Undecided("Set drill.slow_path to a GET that takes one to three seconds in seatrial.toml.")
    with drill.instance() as instance, opened(instance) as connection:
        connection.sendall(drill.request(instance, drill.keys.slow_path))
        time.sleep(_BETWEEN_SIGNALS_S)
        at = instance.send_signal(signal.SIGTERM)
        time.sleep(_BETWEEN_SIGNALS_S)
        if instance.exit_code is not None:
            raise Undecided("It exits before the second signal: see lifecycle-requests-in-flight.")
        instance.send_signal(signal.SIGTERM)
        is_exited = instance.wait(drill.stop_s)
        seconds, output = (instance.exited_at or time.monotonic()) - at, instance.evidence()
        trace = find_traceback(instance.written)
    if not is_exited:
        return failed(f"After a second SIGTERM, it still runs {drill.stop_s:g} s later.", output)
    if trace:
        return failed(f"The second SIGTERM causes a traceback: {trace}.", output)
    return passed(f"After a second SIGTERM, it exits {seconds:.2f} s after the first.")


_row = partial(Row[Drill], category=Category.LIFECYCLE, command="drill", source=_KUBERNETES)
_UVICORN = "FastAPI/uvicorn"

ROWS = (
    _row(
        id="lifecycle-stop",
        title="It exits within the grace period after SIGTERM",
        severity=Severity.CRITICAL,
        why="A process that outlives the grace period is killed, with all that it does. "
        "Each deployment then waits for the whole period.",
        how="SIGTERM is sent under load; the process, and all that it has started, exits within stop_s, or "
        "30 s.",
        fix="Handle SIGTERM: stop accepting, finish what is in flight with a deadline, close, exit.",
        remedies=(
            Remedy(_UVICORN, "--timeout-graceful-shutdown 20, below the grace period."),
            Remedy("sh -c", "exec the server, so that it gets the signal."),
            Remedy("Fastify", "process.on('SIGTERM', () => app.close()), or close-with-grace."),
        ),
        judge=_exits,
    ),
    _row(
        id="lifecycle-exit-code",
        title="The exit code after SIGTERM is 0",
        severity=Severity.MEDIUM,
        why="A stop that was requested is a success. "
        "Another code makes jobs, supervisors and alerts treat each deployment as a crash.",
        how="The exit code of the process after SIGTERM under load is 0.",
        fix="Exit with 0 after the shutdown; an unhandled SIGTERM ends with 143.",
        judge=_exit_code,
    ),
    _row(
        id="lifecycle-requests-in-flight",
        title="Requests in flight finish after SIGTERM",
        severity=Severity.CRITICAL,
        why="Clients of cut requests cannot know whether they took effect. "
        "Each deployment would cut all that are slow.",
        how="drill.slow_path is requested before SIGTERM; its response is complete and no error.",
        fix="Wait for requests in flight, with a deadline, before connections are closed.",
        remedies=(Remedy("gunicorn", "graceful_timeout longer than the slowest request."),),
        judge=_in_flight,
    ),
    _row(
        id="lifecycle-new-connections",
        title="No request on a new connection is lost on SIGTERM",
        severity=Severity.CRITICAL,
        why="Balancers send requests until they notice that an instance is not ready. "
        "A listener that closes at once refuses them.",
        how="Clients with a connection for each request run through the stop. Refused connections after "
        "readiness turned 503 are no loss; everything else without a response is, and so is a 5xx.",
        fix="After SIGTERM, answer readiness with 503 and keep serving for some seconds before the listener "
        "closes.",
        remedies=(Remedy(_UVICORN, "A preStop hook that sleeps longer than the readiness period."),),
        judge=_new_connections,
    ),
    _row(
        id="lifecycle-keep-alive",
        title="No request on a kept connection is lost on SIGTERM",
        severity=Severity.CRITICAL,
        why="Proxies reuse connections and do not repeat requests that may have had an effect. "
        "A connection that is closed without notice fails its next request.",
        source="RFC 9112, section 9.6; https://www.rfc-editor.org/rfc/rfc9112#section-9.6",
        how="Clients that keep connections run through the stop; each request that was sent is answered.",
        fix="Answer with `Connection: close` while stopping, and close after that response.",
        judge=_kept_connections,
    ),
    _row(
        id="lifecycle-readiness-first",
        title="Readiness turns 503 before the listener closes",
        severity=Severity.HIGH,
        why="Readiness is how a balancer learns of the stop. "
        "If connections are refused first, it learns from the errors of clients.",
        how="Readiness is requested every 5 ms during the stop: a 503 comes before the first connection "
        "that gets no response.",
        fix="Set a flag on SIGTERM that readiness reports, and close the listener some seconds later.",
        judge=_readiness_first,
    ),
    _row(
        id="lifecycle-half-sent",
        title="Half-sent requests do not block the stop",
        severity=Severity.HIGH,
        why="Some client is always slow or gone. "
        "A stop that waits for the rest of its request waits until it is killed.",
        how="A request without the end of its head, and one without the end of its body, are open during "
        "SIGTERM; the process exits within the grace period.",
        fix="Close connections that have no complete request when the stop begins, or after a deadline.",
        lane="beside",
        judge=_half_sent,
    ),
    _row(
        id="lifecycle-second-signal",
        title="A second SIGTERM does no harm",
        severity=Severity.LOW,
        why="Supervisors, and tools that signal a whole process group, send it twice. "
        "A handler that is not reentrant then crashes or hangs.",
        how="A second SIGTERM is sent 0.3 s after the first, while drill.slow_path is in flight: the process "
        "exits within the grace period, without a traceback.",
        fix="Make the handler set a flag only, and ignore repetitions.",
        lane="beside",
        judge=_second_signal,
    ),
)
