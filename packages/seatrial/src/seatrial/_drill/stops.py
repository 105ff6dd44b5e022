"""Stops of the service: under load, with open streams, and with incomplete requests."""

import contextlib
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from .._rows.verdict import Evidence, Undecided
from .._target.exchange import request_bytes
from .._target.message import Response
from .drill import Drill
from .instance import Instance
from .load import Attempt, Load, Outcome, receive_response, summary
from .waiting import until

_CLIENTS = 3
_WARM_REQUESTS = 30
_WARM_S = 10.0
_IN_FLIGHT_S = 0.3
_PROBE_PAUSE_S = 0.005
_BACKLOG_S = 0.1
"""Seconds around the first refused connection in which those in the queue of the listener are reset."""


@dataclass
class Stop:
    """A stop, observed by clients.

    Attributes:
        at: Time of the signal, as of `time.monotonic`.
        seconds: Seconds until the exit; None if it did not exit within the grace period.
        exit_code: Exit code, None without an exit.
        left_behind: Names of the processes that go on after the exit.
        output: End of the output.
        load: The clients.
        probes: Readiness probes after the signal.
        slow: Response of the slow request; None if it was cut.
        slow_ended_at: Time at which it ended; 0 if it did not.
    """

    at: float = 0.0
    seconds: float | None = None
    exit_code: int | None = None
    left_behind: list[str] = field(default_factory=list)
    output: Evidence = field(default_factory=lambda: Evidence("output", ""))
    load: Load | None = None
    probes: list[Attempt] = field(default_factory=list)
    slow: Response | None = None
    slow_ended_at: float = 0.0

    @property
    def not_ready_at(self) -> float | None:
        """Time at which readiness was 503 first, or None."""
        return next((each.ended_at for each in self.probes if each.status == 503), None)

    @property
    def refused_at(self) -> float | None:
        """Time of the first refused connection after the signal, or None."""
        attempts = [*self.probes, *(self.load.new if self.load else [])]
        times = [each.at for each in attempts if each.outcome is Outcome.REFUSED and each.at >= self.at]
        return min(times, default=None)

    def lost(self, attempts: list[Attempt]) -> list[Attempt]:
        """Return the requests that a client lost, in the order of time."""
        return [each for each in attempts if each.ended_at >= self.at and self._is_lost(each)]

    def _is_lost(self, attempt: Attempt) -> bool:
        is_announced = self.not_ready_at is not None and attempt.ended_at >= self.not_ready_at
        if attempt.outcome is Outcome.ANSWERED:
            return attempt.status >= 500 and not (is_announced and attempt.status == 503)
        if attempt.outcome is Outcome.REFUSED:
            return not is_announced
        is_queued = self.refused_at is not None and abs(attempt.ended_at - self.refused_at) < _BACKLOG_S
        return not (is_announced and is_queued and attempt in (self.load.new if self.load else []))

    def summary(self, attempts: list[Attempt]) -> Evidence:
        """Return the numbers of attempts before and after the signal as evidence."""
        before = summary([each for each in attempts if each.ended_at < self.at])
        after = summary([each for each in attempts if each.ended_at >= self.at])
        return Evidence("requests", f"before the signal: {before}\nafter it: {after}")


def stop_under_load(drill: Drill) -> Stop:
    """Send SIGTERM while clients send requests, and observe.

    Raises:
        Undecided: The load fails before the signal.
    """
    return drill.once.get("stop under load", lambda: _stop_under_load(drill))


def _stop_under_load(drill: Drill) -> Stop:
    stop = Stop()
    with drill.instance() as instance:
        load = stop.load = _load(drill, instance)
        probing = threading.Event()
        threads = [threading.Thread(target=_probe, args=(drill, instance, stop.probes, probing), daemon=True)]
        if drill.keys.slow_path:
            threads.append(threading.Thread(target=_send_slow, args=(drill, instance, stop), daemon=True))
        load.start()
        try:
            warm(load)
            for thread in threads:
                thread.start()
            # Until the slow request has arrived; nothing outside shows when.
            time.sleep(_IN_FLIGHT_S)
            _send_stop(drill, instance, stop)
        finally:
            probing.set()
            load.stop()
            instance.close()
            for thread in threads:
                if thread.ident is not None:
                    thread.join()
        stop.probes = [each for each in stop.probes if each.ended_at >= stop.at]
    return stop


def _load(drill: Drill, instance: Instance) -> Load:
    path = drill.service(instance).readable_path
    requests = (drill.request(instance, path, is_last=is_last) for is_last in (True, False))
    return Load(instance.address, *requests, clients=_CLIENTS)


def warm(load: Load) -> None:
    """Wait until clients have got responses.

    Raises:
        Undecided: Requests fail.
    """

    def is_warm() -> bool:
        return min(len(load.new), len(load.kept)) >= _WARM_REQUESTS

    is_answering = until(is_warm, _WARM_S)
    failures = [each for each in (*load.new, *load.kept) if each.outcome is not Outcome.ANSWERED]
    failures += [each for each in (*load.new, *load.kept) if each.status >= 500]
    if failures or not is_answering:
        seen = summary([*load.new, *load.kept])
        raise Undecided(f"Requests fail already before the signal ({seen}): set safe_read.path.")


def _send_stop(drill: Drill, instance: Instance, stop: Stop) -> None:
    stop.at = instance.send_signal(signal.SIGTERM)
    if instance.wait(drill.stop_s):
        stop.seconds = instance.exited_at - stop.at
        stop.exit_code = instance.exit_code
        stop.left_behind = instance.left_behind
    stop.output = instance.evidence()


def _probe(drill: Drill, instance: Instance, probes: list[Attempt], stopped: threading.Event) -> None:
    path = drill.readiness_path(drill.service(instance))
    # Probes carry no token.
    request = request_bytes("GET", path, instance.address.authority, [("Connection", "close")], None)
    while not stopped.wait(_PROBE_PAUSE_S):
        at = time.monotonic()
        try:
            with socket.create_connection((instance.address.ip, instance.address.port), 2.0) as connection:
                connection.sendall(request)
                response = receive_response(connection, at + 2.0)
        except ConnectionRefusedError:
            probes.append(Attempt(at, Outcome.REFUSED, 0, time.monotonic()))
        except OSError:
            probes.append(Attempt(at, Outcome.CUT, 0, time.monotonic()))
        else:
            outcome = Outcome.ANSWERED if response else Outcome.CUT
            probes.append(Attempt(at, outcome, response.status if response else 0, time.monotonic()))


def _send_slow(drill: Drill, instance: Instance, stop: Stop) -> None:
    with contextlib.suppress(OSError), opened(instance) as connection:
        connection.sendall(drill.request(instance, drill.keys.slow_path, is_last=False))
        stop.slow = receive_response(connection, time.monotonic() + drill.stop_s + 10.0)
        stop.slow_ended_at = time.monotonic()


@contextlib.contextmanager
def opened(instance: Instance) -> Iterator[socket.socket]:
    """A connection to an instance."""
    with socket.create_connection((instance.address.ip, instance.address.port), 5.0) as connection:
        yield connection


def stop_with(drill: Drill, key: str, hold: Callable[[Instance, contextlib.ExitStack], object]) -> Stop:
    """Send SIGTERM while a client holds something open, and observe.

    Args:
        drill: The drill.
        key: Name, for which it is done once.
        hold: Opens it, on a stack that is closed after the exit.
    """

    def observe() -> Stop:
        stop = Stop()
        with drill.instance() as instance, contextlib.ExitStack() as stack:
            hold(instance, stack)
            _send_stop(drill, instance, stop)
        return stop

    return drill.once.get(key, observe)
