"""An outage of the database, while clients send requests and probes."""

import threading
import time
from dataclasses import dataclass, field

from .drill import Drill
from .instance import Instance
from .load import Attempt, Load
from .waiting import until

_CLIENTS = 2
_WARM_REQUESTS = 10
_WARM_S = 10.0
_OUTAGE_S = 1.5
_TOLERANCE_S = 5.0
_PROBE_PAUSE_S = 0.05
_OK = (200, 204)


@dataclass
class Outage:
    """Observations of clients and probes.

    Attributes:
        at: Time at which the database was stopped, as of `time.monotonic`.
        back_at: Time at which it was started.
        load: Clients that need the database; None without a path.
        liveness: Statuses of liveness during the outage, 0 for no response.
        not_ready_s: Seconds until readiness was 503; None if it never was.
        ready_again_s: Seconds from the start of the database until readiness was 200; None if never.
        recovered_s: Seconds from the start of the database until the load succeeded; None if never.
        last_statuses: Last statuses of the load.
    """

    at: float = 0.0
    back_at: float = 0.0
    load: Load | None = None
    liveness: list[int] = field(default_factory=list)
    not_ready_s: float | None = None
    ready_again_s: float | None = None
    recovered_s: float | None = None
    last_statuses: list[int] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """Duration."""
        return self.back_at - self.at

    @property
    def has_failed(self) -> bool:
        """Whether a request of the clients has failed since it began."""
        load = self.load
        if load is None:
            return True
        return any(each.at >= self.at and each.status not in _OK for each in [*load.new, *load.kept])

    def before(self, load: Load) -> list[Attempt]:
        """Return the requests that ended before it."""
        return [each for each in (*load.new, *load.kept) if each.ended_at < self.at]

    def during(self, load: Load) -> list[Attempt]:
        """Return the requests that began during it."""
        return [each for each in (*load.new, *load.kept) if self.at <= each.at < self.back_at]


def outage(drill: Drill) -> Outage:
    """Stop the database of a new instance under load, start it again, and return what was observed.

    Raises:
        Undecided: The database cannot be stopped.
    """
    return drill.once.get("outage", lambda: _observe(drill))


def _observe(drill: Drill) -> Outage:
    found = Outage()
    drill.database.require()
    with drill.instance() as instance:
        if drill.database_path:
            load = found.load = _load(drill, instance)
            load.start()
            until(lambda: len(load.new) >= _WARM_REQUESTS, _WARM_S)
        stopped = threading.Event()
        prober = threading.Thread(target=_probe, args=(drill, instance, found, stopped), daemon=True)
        try:
            # The command itself takes time: an answer before its end may come from either state.
            with drill.database.away():
                found.at = time.monotonic()
                prober.start()
                # A database that is paused, not stopped, fails requests by their timeout only.
                patience_s = drill.keys.request_timeout_s + _TOLERANCE_S
                until(lambda: found.not_ready_s is not None and found.has_failed, patience_s)
                stopped.wait(_OUTAGE_S)
                found.back_at = time.monotonic()
            started = time.monotonic()
            if drill.wait_until_answering(instance, drill.keys.start_s):
                found.ready_again_s = time.monotonic() - started
            _recover(drill, found, started)
        finally:
            stopped.set()
            if found.load:
                found.load.stop()
            if prober.ident is not None:
                prober.join()
    return found


def _load(drill: Drill, instance: Instance) -> Load:
    requests = (drill.request(instance, drill.database_path, is_last=is_last) for is_last in (True, False))
    response_s = drill.keys.request_timeout_s + _TOLERANCE_S
    return Load(instance.address, *requests, clients=_CLIENTS, response_s=response_s)


def _recover(drill: Drill, found: Outage, started: float) -> None:
    load = found.load
    if load is None:
        return

    def has_recovered() -> bool:
        last = [each.status for each in load.new if each.at >= started][-_CLIENTS:]
        return len(last) == _CLIENTS and all(status in _OK for status in last)

    if until(has_recovered, drill.keys.start_s):
        found.recovered_s = time.monotonic() - started
    found.last_statuses = [each.status for each in load.new][-5:]


def _probe(drill: Drill, instance: Instance, found: Outage, stopped: threading.Event) -> None:
    service = drill.service(instance)
    while not stopped.wait(_PROBE_PAUSE_S) and not found.back_at:
        if service.liveness:
            found.liveness.append(_status(drill, instance, service.liveness))
        if service.readiness and _status(drill, instance, service.readiness) == 503:
            found.not_ready_s = found.not_ready_s or time.monotonic() - found.at


def _status(drill: Drill, instance: Instance, path: str) -> int:
    try:
        return drill.service(instance).client.get(path).status
    except OSError:
        return 0
