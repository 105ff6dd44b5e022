"""Instances behind a load balancer that are restarted one after another, under load."""

import contextlib
import signal
import time
from dataclasses import dataclass, field

from .._rows.verdict import Undecided
from .._target.exchange import request_bytes
from .balancer import Balancer
from .drill import Drill
from .instance import Instance
from .load import Attempt, Load, Outcome
from .stops import warm
from .waiting import until

_INSTANCES = 2
_CLIENTS = 2
_REQUESTS_BETWEEN = 20


@dataclass
class Restart:
    """Requests that were sent through the balancer while both instances were restarted.

    Attributes:
        new: Those on new connections.
        kept: Those on kept connections.
        seconds: Duration of the restarts.
    """

    new: list[Attempt] = field(default_factory=list)
    kept: list[Attempt] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def lost(self) -> list[Attempt]:
        """Requests without a complete response, or with a 5xx."""
        return [
            each
            for each in sorted((*self.new, *self.kept), key=lambda attempt: attempt.ended_at)
            if each.outcome is not Outcome.ANSWERED or each.status >= 500
        ]


def rolling_restart(drill: Drill) -> Restart:
    """Restart two instances behind a balancer, one after another, while clients send requests.

    Raises:
        Undecided: Requests fail before the first restart, or an instance does not stop or start.
    """
    with contextlib.ExitStack() as stack:
        instances = [stack.enter_context(drill.instance()) for _ in range(_INSTANCES)]
        probe_path = drill.readiness_path(drill.service(instances[0]))
        authority = instances[0].address.authority
        # Probes carry no token.
        probe = request_bytes("GET", probe_path, authority, [("Connection", "close")], None)
        balancer = stack.enter_context(
            contextlib.closing(Balancer([each.address.port for each in instances], probe))
        )
        _wait_until_healthy(drill, balancer)
        path = drill.service(instances[0]).readable_path
        requests = (drill.request(instances[0], path, is_last=is_last) for is_last in (True, False))
        load = Load(balancer.address, *requests, clients=_CLIENTS)
        load.start()
        try:
            warm(load)
            started = time.monotonic()
            for instance in instances:
                stack.callback(drill.end, _restarted(drill, instance))
                _wait_until_healthy(drill, balancer)
                _wait_for_requests(load, drill.config.timeout_s)
            seconds = time.monotonic() - started
        finally:
            load.stop()
    return Restart(load.new, load.kept, seconds)


def _restarted(drill: Drill, instance: Instance) -> Instance:
    """Stop an instance, and return one that is ready on its port."""
    instance.send_signal(signal.SIGTERM)
    if not instance.wait(drill.stop_s):
        raise Undecided(f"It does not exit within {drill.stop_s:g} s: see lifecycle-stop.")
    later = drill.launch(port=instance.address.port)
    if not drill.wait_until_ready(later, drill.keys.start_s):
        drill.end(later)
        raise Undecided(f"It is not ready again within {drill.keys.start_s:g} s on the same port.")
    return later


def _wait_for_requests(load: Load, timeout_s: float) -> None:
    sent = len(load.new)
    until(lambda: len(load.new) >= sent + _REQUESTS_BETWEEN, timeout_s)


def _wait_until_healthy(drill: Drill, balancer: Balancer) -> None:
    if not until(lambda: len(balancer.healthy) == _INSTANCES, drill.keys.start_s):
        raise Undecided("The readiness of two instances at the same time was not 200.")
