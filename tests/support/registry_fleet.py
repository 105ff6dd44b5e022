"""Every service of the registry, running, with the addresses of those that it needs."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

from starkeel_testing import Service, running

from tools.registry import Service as Entry
from tools.registry import read, upstreams, urls


@contextmanager
def running_services(environ: Mapping[str, str] | None = None) -> Iterator[dict[str, Service]]:
    """Run all services on embedded databases until the block ends, each after those that it calls.

    Args:
        environ: Variables of all services.
    """
    entries = read()
    with ExitStack() as stack:
        found: dict[str, Service] = {}
        for entry in _in_order(entries):
            addresses = {each.name: found[each.name].url if each.name in found else "" for each in entries}
            known = {name: url for name, url in urls(entry, addresses, entries).items() if url}
            found[entry.name] = stack.enter_context(running(entry.name, {**(environ or {}), **known}))
        yield found


def _in_order(entries: Sequence[Entry]) -> list[Entry]:
    """Return the services, each after its upstreams as far as these do not form a circle."""
    ordered: list[Entry] = []
    left = list(entries)
    while left:
        started = {each.name for each in ordered}
        ready = [each for each in left if set(upstreams(each, entries)) <= started] or left[:1]
        ordered += ready
        left = [each for each in left if each not in ready]
    return ordered
