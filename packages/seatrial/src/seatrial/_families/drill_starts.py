"""Rows about the start of a service, and about crashes of its workers."""

import signal
import socket
import statistics
import time
from functools import partial

from .._drill.crashes import crash_of_a_worker
from .._drill.drill import Drill
from .._drill.starts import failing_start
from .._drill.waiting import until
from .._rows.row import Category, Remedy, Row, Severity
from .._rows.verdict import Evidence, Judgement, Undecided, failed, passed

_MOMENTS = (0.0, 0.2, 0.4, 0.6, 0.8, 0.95)
_TWELVE_FACTOR = "https://12factor.net/disposability"


def _boot_signal(drill: Drill) -> Judgement:
    ready_s = _usual_start(drill)
    lines = []
    for moment in _MOMENTS:
        instance = drill.launch()
        try:
            time.sleep(moment * ready_s)
            at = instance.send_signal(signal.SIGTERM)
            is_exited = instance.wait(drill.stop_s)
            output = instance.evidence()
        finally:
            drill.end(instance)
        lines.append(f"{moment * ready_s:.2f} s after the start: exit {instance.exit_code}")
        if not is_exited:
            return failed(
                f"SIGTERM {moment * ready_s:.2f} s after the start is lost: it still runs "
                f"{time.monotonic() - at:.1f} s later.",
                output,
            )
        if instance.left_behind:
            return failed(
                f"After SIGTERM {moment * ready_s:.2f} s after the start, processes of it go on: "
                f"{', '.join(instance.left_behind)}.",
                output,
            )
    return passed("It exits after SIGTERM at each moment of its start.", Evidence("exits", "\n".join(lines)))


def _usual_start(drill: Drill) -> float:
    if not drill.ready_s:
        drill.end(drill.start())
    return statistics.median(drill.ready_s)


def _start_time(drill: Drill) -> Judgement:
    try:
        _usual_start(drill)
    except Undecided as problem:
        return failed(str(problem).partition(": see")[0] + ".", *drill.start_evidence)
    times = ", ".join(f"{seconds:.2f}" for seconds in drill.ready_s)
    return passed(
        f"It is ready {_usual_start(drill):.2f} s after it is executed (median of {len(drill.ready_s)}).",
        Evidence("seconds of each start", times),
    )


def _taken_port(drill: Drill) -> Judgement:
    # Not accepted from: the service must notice by itself, not by an answer.
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        start = failing_start(drill, port=port)
    if problem := start.problem("a taken port"):
        return problem
    if not start.mentions(str(port), "in use", "eaddrinuse"):
        return failed(f"Its message names neither the port {port} nor the problem.", start.output)
    return passed(f"It exits with {start.exit_code} and names the port.", start.output)


def _worker_crash(drill: Drill) -> Judgement:
    crash = crash_of_a_worker(drill)
    if not crash.is_main_running:
        return failed(f"The main process ended with its worker (exit {crash.exit_code}).", crash.output)
    if not crash.is_answering:
        return failed(f"No request is answered {drill.keys.start_s:g} s after the crash.", crash.output)
    if crash.workers_after < crash.workers_before:
        return failed(
            f"Of {crash.workers_before} workers, {crash.workers_after} are left: none replaces the killed "
            "worker.",
            crash.output,
        )
    return passed(f"Worker {crash.killed} was killed, and replaced after {crash.seconds:.2f} s.")


def _without_database(drill: Drill) -> Judgement:
    contract = drill.keys.boot_without_database
    if not contract:
        raise Undecided("Set drill.boot_without_database to `waits` or `exits` in seatrial.toml.")
    with drill.database.away():
        if contract == "exits":
            start = failing_start(drill)
            return start.problem("the database away") or passed(
                f"With the database away, it exits with {start.exit_code}.", start.output
            )
        instance = drill.launch()
        try:
            if until(lambda: instance.exit_code is not None, _usual_start(drill) * 2 + 1):
                return failed(
                    f"With the database away, it exits with {instance.exit_code}.", instance.evidence()
                )
            if drill.is_ready(instance):
                return failed("With the database away, it is ready.", instance.evidence())
            drill.database.start()
            if not drill.wait_until_ready(instance, drill.keys.start_s):
                return failed("It is not ready after the database is back.", instance.evidence())
        finally:
            drill.end(instance)
    return passed("It starts with the database away, and is ready once the database is back.")


_row = partial(Row[Drill], category=Category.LIFECYCLE, command="drill", source=_TWELVE_FACTOR)

ROWS = (
    _row(
        id="lifecycle-boot-signal",
        title="SIGTERM during the start ends it",
        severity=Severity.MEDIUM,
        why="A deployment that is rolled back stops instances that have just started. "
        "A signal that is lost leaves them running until they are killed.",
        how="SIGTERM is sent at six moments of the start; the process exits within the grace period each "
        "time.",
        fix="Install the handler before anything slow, and check its flag before serving.",
        lane="beside",
        judge=_boot_signal,
    ),
    _row(
        id="lifecycle-start-time",
        title="It is ready soon after it is executed",
        severity=Severity.LOW,
        why="Replacements and further instances help only once they are ready. "
        "The time also bounds how long a deployment takes.",
        how="The median time from the execution to the first 200 of readiness is reported; drill.start_s is "
        "its limit.",
        fix="Import lazily, open connections in the background, and migrate the database before, not in, the "
        "start.",
        judge=_start_time,
    ),
    _row(
        id="lifecycle-taken-port",
        title="A taken port is reported clearly",
        severity=Severity.MEDIUM,
        why="It is the most common fault of a start, and its message is read by operators. "
        "A process that goes on without its listener seems to run.",
        how="The port is taken before the start: the process exits with another code than 0, names the port "
        "or the problem, and prints no traceback.",
        fix="Catch the error of bind, print one line with address and reason, and exit with 1.",
        remedies=(Remedy("Fastify", "Await app.listen in try/catch, log err.message, process.exit(1)."),),
        lane="beside",
        judge=_taken_port,
    ),
    _row(
        id="lifecycle-worker-crash",
        title="The crash of a worker is survived",
        severity=Severity.HIGH,
        why="A worker that is killed for its memory is routine. "
        "A main process that does not replace it serves with less, or not at all.",
        how="The process that holds a connection is killed with SIGKILL: the main process goes on, requests "
        "are answered, and as many workers run as before. Not applicable with one process.",
        fix="Use a server whose main process watches its workers and replaces them.",
        remedies=(Remedy("Node.js", "cluster.on('exit', () => cluster.fork())"),),
        lane="beside",
        judge=_worker_crash,
    ),
    _row(
        id="lifecycle-boot-without-database",
        title="It starts without the database as it promises",
        severity=Severity.HIGH,
        why="After an outage, everything starts at once and in any order. "
        "A service that neither waits nor fails clearly needs an operator.",
        how="The service is started with the database stopped. With `waits`, it runs, is not ready, and is "
        "ready once the database is back; with `exits`, it exits with an error and without a traceback.",
        fix="Connect in the background, and let readiness report the state.",
        lane="last",
        judge=_without_database,
    ),
)
