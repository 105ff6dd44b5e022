"""Conditional requests behind proxies that compress, which change the entity tag of what they compress."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import httpx2
import pytest
from starkeel_testing import Service

from ...support.orders import Customer, registered_customer
from .compressing_proxies import PROXIES, Proxy, proxying

pytestmark = pytest.mark.timeout(300)


class Shop(NamedTuple):
    customer: Customer
    orders: Service


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    directory = tmp_path_factory.mktemp("shop")
    with (
        registered_customer(directory) as customer,
        customer.running_orders(f"sqlite:///{directory}/orders.db") as orders,
    ):
        yield Shop(customer, orders)


@pytest.mark.parametrize("proxy", PROXIES.values(), ids=PROXIES)
def test_an_order_is_changed_with_the_tag_that_a_proxy_returned(
    shop: Shop, proxy: Proxy, tmp_path: Path
) -> None:
    with (
        proxying(proxy, shop.orders.url, tmp_path) as url,
        httpx2.Client(base_url=url, headers=shop.customer.headers, timeout=60, trust_env=False) as client,
    ):
        path = shop.customer.place(client).headers["location"]
        # The proxy does compress.
        assert shop.customer.latest(client).headers["content-encoding"] == "gzip"

        tag = client.get(path).headers["etag"]

        assert tag == proxy.tag
        assert client.get(path, headers={"If-None-Match": tag}).status_code == 304
        changed = client.patch(path, json={"quantity": 2}, headers={"If-Match": tag})
        assert changed.status_code == 200, changed.text
        again = client.patch(path, json={"quantity": 3}, headers={"If-Match": tag})
        assert again.status_code == 412
        next_tag = changed.headers["etag"]
        assert client.patch(path, json={"quantity": 3}, headers={"If-Match": next_tag}).status_code == 200
        assert client.head(path).headers["etag"]
