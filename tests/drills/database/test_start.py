"""Four whole instances of orders start at once on an empty database."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from orders import migrations

from .orders_fixture import Shop, told

pytestmark = pytest.mark.timeout(300)

INSTANCES = 4


def test_one_migrates_and_the_others_go_on(ada: Shop, postgres_url: str, capsys: Any) -> None:
    revisions = len(list(Path(migrations.__path__[0]).glob("0*.py")))
    with ExitStack() as stack, ThreadPoolExecutor(INSTANCES) as pool:
        starting = [pool.submit(stack.enter_context, ada.serving(postgres_url)) for _ in range(INSTANCES)]
        services = [one.result(120) for one in starting]
        counts = sorted(one.wait_for_log("migrations complete")["applied"] for one in services)
        applied = [line for one in services for line in one.logs() if line["message"] == "migration applied"]
        waited = sum(
            line["message"] == "another process migrates: waiting for it"
            for one in services
            for line in one.logs()
        )
        told(capsys, "four at once on an empty database", revisions_applied=counts, waited=waited)

        assert counts == [0] * (INSTANCES - 1) + [revisions]
        assert len(applied) == revisions
        for service in services:
            assert ada.place(service.client).status_code == 201
        assert {len(ada.orders(one.client)) for one in services} == {INSTANCES}
