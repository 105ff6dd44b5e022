"""A further service lowers the connections of the others, which `just new-service` reports."""

import pytest

from tools.generate.connections import Limits, lowered
from tools.registry import RegistryError, Service


def fleet(number: int, *, max_pods: int = 10) -> list[Service]:
    return [
        Service(name=f"s{n}", port=3000 + n, admin_port=9000 + n, needs=["database"], max_pods=max_pods)
        for n in range(number)
    ]


def test_a_lower_share_is_reported_with_what_to_raise() -> None:
    note = lowered(fleet(2), fleet(3), Limits())

    assert note is not None
    assert note.startswith(
        "DB_MAX_CONNECTIONS of each pod is lower now: s0 4 -> 2, s1 4 -> 2. 92 connections"
    )
    assert "raise `max_connections` in [tool.starkeel.database] of pyproject.toml and in PostgreSQL" in note


def test_nothing_is_reported_if_there_are_enough() -> None:
    assert lowered(fleet(2, max_pods=1), fleet(3, max_pods=1), Limits(max_connections=500)) is None
    assert (
        lowered(fleet(1), [*fleet(1), Service(name="quotes", port=3900, admin_port=9900)], Limits()) is None
    )


def test_too_few_for_all_are_refused() -> None:
    with pytest.raises(RegistryError, match="are too few for all instances"):
        lowered(fleet(4), fleet(5), Limits())
