"""A release with a new schema is rolled out, rolled back and rolled out again under load."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ...support.orders import Customer
from ...support.postgres import execute
from ...support.report import report
from .rollout import Deployment, Release, Users

pytestmark = pytest.mark.timeout(400)

REPLICAS, CLIENTS = 2, 4
REQUESTS = 60
"""Responses between two steps."""


@pytest.fixture
def deployment(customer: Customer, postgres_url: str) -> Iterator[Deployment]:
    deployment = Deployment(customer, postgres_url)
    yield deployment
    deployment.stop()


@pytest.fixture
def old(tmp_path: Path) -> Release:
    return Release(tmp_path / "old")


def test_a_release_is_rolled_back_and_forward_and_fails_no_request(
    customer: Customer, deployment: Deployment, old: Release, tmp_path: Path, capsys: Any
) -> None:
    new = Release(tmp_path / "new")
    new.add("0090_add_note", 'op.add_column("orders", sa.Column("note", sa.Text()))')
    new.add("0091_widen", 'op.execute("ALTER TABLE orders ALTER COLUMN product_type TYPE varchar(80)")')
    for _ in range(REPLICAS):
        deployment.start(old)
    with (
        Users(deployment, customer.place, count=CLIENTS) as writers,
        Users(deployment, customer.latest, count=CLIENTS) as readers,
    ):
        writers.wait_for_responses(REQUESTS)
        # A pod of the old release is scheduled again in the middle of the rollout.
        deployment.start(new)
        rescheduled = deployment.start(old)
        writers.wait_for_responses(REQUESTS)
        deployment.stop_oldest()
        deployment.stop_oldest()
        deployment.roll(new)
        writers.wait_for_responses(REQUESTS)
        back = deployment.roll(old)
        writers.wait_for_responses(REQUESTS)
        deployment.roll(new)
        writers.wait_for_responses(REQUESTS)
        readers.wait_for_responses(REQUESTS)
        for service in (rescheduled, *back):
            (line,) = [line for line in service.logs() if line["message"] == "database newer than the code"]
            assert line["revision"] == "0091_widen"
    report(
        capsys,
        "forward, back, forward",
        writes=dict(writers.statuses),
        reads=dict(readers.statuses),
        failed=len(writers.failures) + len(readers.failures),
    )
    assert writers.failures == []
    assert readers.failures == []


def test_a_contracting_release_cannot_be_rolled_back(
    customer: Customer, deployment: Deployment, old: Release, tmp_path: Path, postgres_url: str, capsys: Any
) -> None:
    deployment.start(old)
    execute(postgres_url, "ALTER TABLE orders ADD COLUMN note text")
    new = Release(tmp_path / "new")
    new.add("0090_drop_note", 'op.drop_column("orders", "note")', mark="contracting = True")
    deployment.roll(new)

    refused = deployment.migrate(old)

    report(capsys, "back over a contracting revision", exit_code=refused.code)
    assert refused.code == 65, refused.output
    assert "its revision 0090_drop_note is contracting" in refused.output
    assert "deploy a release that has it" in refused.output
    # The new release still serves.
    with Users(deployment, customer.place, count=1) as users:
        users.wait_for_responses(1)
    assert users.failures == []
