"""Four instances of orders start at the same time on an empty database."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from orders import migrations

from ...support.orders import Customer
from ...support.report import report

pytestmark = pytest.mark.timeout(300)

INSTANCES = 4


def test_one_instance_migrates_and_the_others_wait(
    customer: Customer, postgres_url: str, capsys: Any
) -> None:
    revisions = len(list(Path(migrations.__path__[0]).glob("0*.py")))
    with ExitStack() as stack, ThreadPoolExecutor(INSTANCES) as pool:
        starting = [
            pool.submit(stack.enter_context, customer.running_orders(postgres_url)) for _ in range(INSTANCES)
        ]
        services = [started.result(120) for started in starting]
        counts = sorted(each.wait_for_log("migrations complete")["applied"] for each in services)
        lines = [line for each in services for line in each.logs()]
        applied = [line for line in lines if line["message"] == "migration applied"]
        waited = sum(line["message"] == "another process migrates: waiting for it" for line in lines)
        report(capsys, "four starts on an empty database", revisions_applied=counts, waited=waited)

        assert counts == [0] * (INSTANCES - 1) + [revisions]
        assert len(applied) == revisions
        for service in services:
            assert customer.place(service.client).status_code == 201
        assert {len(customer.order_ids(each.client)) for each in services} == {INSTANCES}
