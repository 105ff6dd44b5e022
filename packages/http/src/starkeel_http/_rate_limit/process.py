"""Rate-limit counters in process memory."""

import time
from collections import OrderedDict, deque
from typing import Final

from .rules import KNOWN_ADDRESSES, KNOWN_S, REMEMBERED_S, Account, Count, Counted, Rule, own_rule

_MAX_KEYS: Final = 100_000


class _Log:
    """Times of the counted requests of each key of one limit.

    The memory storage of `limits` scans all of its keys on every request.
    """

    def __init__(self) -> None:
        # In the order of their last counted request, so that expired keys come first.
        self._times: OrderedDict[str, deque[float]] = OrderedDict()

    def state(self, rule: Rule, now: float) -> Count:
        """Return the state of a key, without the requests that have left its window."""
        since = now - rule.window_s
        times = self._times.get(rule.key) or deque()
        while times and times[0] <= since:
            times.popleft()
        left_s = times[0] - since if times else float(rule.window_s)
        recent, recent_left_s = 0, 0.0
        if rule.burst:
            recent = _newer(times, now - rule.burst_s, rule.burst)
            recent_left_s = (times[-recent] if recent else now) - now + rule.burst_s
        return Count(len(times), left_s, recent, recent_left_s)

    def add(self, rule: Rule, now: float) -> None:
        """Count a request."""
        self._times.setdefault(rule.key, deque()).append(now)
        self._times.move_to_end(rule.key)
        since = now - rule.window_s
        while True:
            key, times = next(iter(self._times.items()))
            if times and times[-1] > since and len(self._times) <= _MAX_KEYS:
                return
            del self._times[key]


class ProcessCounters:
    """The requests of each key in moving windows, as `RedisCounters`."""

    def __init__(self) -> None:
        self._logs: dict[str, _Log] = {}
        # The known addresses of accounts, with the time of their last success.
        self._known: OrderedDict[str, OrderedDict[str, float]] = OrderedDict()

    def hit(self, rules: list[Rule], account: Account | None) -> Counted:
        """Count a request."""
        now = time.monotonic()
        age_s = None if account is None else self._age_s(account, now)
        if account is not None and age_s is not None and age_s < KNOWN_S:
            rules = [*rules[:-1], own_rule(rules[-1], account)]
        logs = [self._log(rule.limit) for rule in rules]
        counts = tuple(log.state(rule, now) for log, rule in zip(logs, rules, strict=True))
        is_within = all(
            count.counted < rule.amount and (not rule.burst or count.recent < rule.burst)
            for rule, count in zip(rules, counts, strict=True)
        )
        if is_within:
            for log, rule in zip(logs, rules, strict=True):
                log.add(rule, now)
        return Counted(is_within, counts, age_s is not None and age_s < REMEMBERED_S)

    def remember(self, account: Account) -> None:
        """Store that the account has succeeded from the address."""
        peers = self._known.setdefault(account.key, OrderedDict())
        self._known.move_to_end(account.key)
        peers[account.peer] = time.monotonic()
        peers.move_to_end(account.peer)
        if len(peers) > KNOWN_ADDRESSES:
            peers.popitem(last=False)
        if len(self._known) > _MAX_KEYS:
            self._known.popitem(last=False)

    def _age_s(self, account: Account, now: float) -> float | None:
        at = self._known.get(account.key, OrderedDict()).get(account.peer)
        return None if at is None else now - at

    def _log(self, limit: str) -> _Log:
        return self._logs.setdefault(limit, _Log())


def _newer(times: deque[float], since: float, most: int) -> int:
    """Return the number of times after `since`, at most `most`."""
    low, high = 0, min(most, len(times))
    while low < high:
        middle = (low + high + 1) // 2
        if times[-middle] > since:
            low = middle
        else:
            high = middle - 1
    return low
