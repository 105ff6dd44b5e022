"""Crashes of worker processes."""

import contextlib
import os
import signal
import socket
import time
from dataclasses import dataclass

from .._rows.verdict import Evidence, NotApplicable, Undecided
from .drill import Drill
from .instance import Instance
from .load import receive_response
from .processes import children, holder, parent
from .waiting import until

_SEARCH_S = 2.0


@dataclass(frozen=True, slots=True)
class Crash:
    """Consequences of a killed worker.

    Attributes:
        killed: The worker.
        is_main_running: Whether the main process still ran.
        exit_code: Exit code of the process that was started, None while it runs.
        is_answering: Whether requests were answered again.
        workers_before: Number of processes beside the worker, with it.
        workers_after: The same after the crash.
        seconds: Seconds until the worker was replaced.
        output: End of the output.
    """

    killed: int
    is_main_running: bool
    exit_code: int | None
    is_answering: bool
    workers_before: int
    workers_after: int
    seconds: float
    output: Evidence


def crash_of_a_worker(drill: Drill) -> Crash:
    """Kill the process of an instance that serves a connection, and observe.

    Raises:
        NotApplicable: The service is one process.
        Undecided: The process that serves was not found.
    """
    return drill.once.get("crash of a worker", lambda: _observe(drill))


def _observe(drill: Drill) -> Crash:
    with drill.instance() as instance:
        worker = serving_process(drill, instance)
        main = parent(worker)
        before = len(children(main))
        at = time.monotonic()
        os.kill(worker, signal.SIGKILL)

        def is_replaced() -> bool:
            left = children(main)
            return worker not in left and len(left) >= before

        until(lambda: instance.exit_code is not None or is_replaced(), drill.keys.start_s)
        seconds = time.monotonic() - at
        is_answering = drill.wait_until_answering(instance, drill.keys.start_s)
        return Crash(
            killed=worker,
            is_main_running=instance.exit_code is None,
            exit_code=instance.exit_code,
            is_answering=is_answering,
            workers_before=before,
            workers_after=len(children(main)),
            seconds=seconds,
            output=instance.evidence(),
        )


def serving_process(drill: Drill, instance: Instance) -> int:
    """Return the worker that serves a new connection.

    Raises:
        NotApplicable: It is the main process.
        Undecided: It was not found.
    """
    path = drill.readiness_path(drill.service(instance))
    with contextlib.closing(_connection(instance)) as connection:
        connection.sendall(drill.request(instance, path, is_last=False))
        receive_response(connection, time.monotonic() + drill.config.timeout_s)
        client_port = connection.getsockname()[1]
        found: list[int] = []

        def is_found() -> bool:
            pid = holder(instance.pids, server_port=instance.address.port, client_port=client_port)
            found[:] = [pid] if pid else []
            return bool(found)

        if not until(is_found, _SEARCH_S):
            raise Undecided("The process that serves was not found: it closes each connection at once.")
    if found[0] == instance.main_pid:
        raise NotApplicable("One process serves: whatever supervises it replaces it.")
    return found[0]


def _connection(instance: Instance) -> socket.socket:
    return socket.create_connection((instance.address.ip, instance.address.port), 5.0)
