"""Report of a run: Starkeel against each other stack, and the cost of a key and an event."""

from collections.abc import Iterator, Mapping

from ..load import Quartiles, Round, compared

Rounds = Mapping[tuple[str, str], list[Round]]
"""Rounds by contender and operation."""


def report(rounds: Rounds, single_client: Rounds) -> Iterator[str]:
    """Yield the lines of the report.

    Args:
        rounds: Rounds under full load.
        single_client: Rounds of one connection, for what one request takes.
    """
    for operation in ("read", "write"):
        own = rounds["starkeel", operation]
        yield f"\n{operation}: starkeel uses {Quartiles.of(each.cpu_us for each in own):.0f} us of CPU"
        for (name, other), done in rounds.items():
            if name != "starkeel" and other == operation:
                cpu = compared(own, done, lambda s, o: o.cpu_us / s.cpu_us)
                speed = compared(own, done, lambda s, o: s.per_s / o.per_s)
                yield f"{operation}: {cpu:.2f} times {name} by CPU time, {speed:.2f} times by throughput"
    write, once = (rounds["starkeel", operation] for operation in ("write", "write_once"))
    added = compared(write, once, lambda w, o: o.cpu_us - w.cpu_us)
    yield f"\nidempotency key and event: {added:.0f} us of CPU more per write"
    write, once = (single_client["starkeel", operation] for operation in ("write", "write_once"))
    waited = compared(write, once, lambda w, o: (1 / o.per_s - 1 / w.per_s) * 1000)
    yield f"idempotency key and event: {waited:.2f} ms more for a single client"
