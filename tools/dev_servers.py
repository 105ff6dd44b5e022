"""PostgreSQL and Redis for `just dev`, from this machine or from wheels."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from starkeel_testing import PostgresServer, running_postgres, running_redis

from .registry import read
from .workspace import Member

Variables = dict[str, dict[str, str]]
"""Variables of each service, by its name."""


@contextmanager
def running_servers(members: list[Member], *, postgres: bool, redis: bool) -> Iterator[Variables]:
    """Run the chosen servers until the block ends; yield the variables of each service.

    Args:
        members: The services; each gets a database of its own.
        postgres: Whether to run PostgreSQL.
        redis: Whether to run Redis.
    """
    variables: Variables = {member.name: {} for member in members}
    needs = {service.name: service.needs for service in read()}
    with ExitStack() as stack:
        if postgres:
            sys.stdout.write("starting PostgreSQL ...\n")
            server = PostgresServer(stack.enter_context(running_postgres()).url)
            for own in variables.values():
                own["DATABASE_URL"] = stack.enter_context(server.database())
        if redis:
            sys.stdout.write("starting Redis ...\n")
            url = stack.enter_context(running_redis()).url
            for name, own in variables.items():
                own["REDIS_URL"] = url
                if "broker" in needs[name]:
                    own["BROKER_URL"] = url
        sys.stdout.flush()
        yield variables
