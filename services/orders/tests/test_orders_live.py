"""Live events of the caller's orders."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
import pytest
from starkeel_testing import Service, running
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.support.rows import rows

TIMEOUT_S = 10.0


class Stream:
    """Reader of server-sent events."""

    def __init__(self, response: httpx2.Response) -> None:
        self._lines = response.iter_lines()

    def next(self) -> dict[str, str]:
        """Return the next event, skipping comments; the client's timeout limits the wait."""
        fields: dict[str, str] = {}
        for line in self._lines:
            name, _, value = line.partition(": ")
            if name and not line.startswith(":"):
                fields[name] = value
            elif not line and "data" in fields:
                return fields
        raise AssertionError("the stream has ended")


@contextmanager
def watching(service: Service, person: Any, **headers: str) -> Iterator[Stream]:
    with (
        httpx2.Client(base_url=service.url, timeout=TIMEOUT_S) as client,
        client.stream("GET", "/api/orders/events", headers=person.headers | headers) as response,
    ):
        assert response.status_code == 200, response.read()
        assert response.headers["content-type"].startswith("text/event-stream")
        yield Stream(response)


@contextmanager
def listening(
    service: Service, person: Any, *, by_subprotocol: bool = False, after: str | None = None
) -> Iterator[ClientConnection]:
    query = "" if after is None else f"?last_event_id={after}"
    url = f"{service.url.replace('http', 'ws', 1)}/api/orders/live{query}"
    with connect(
        url,
        additional_headers={} if by_subprotocol else person.headers,
        subprotocols=["bearer", person.token] if by_subprotocol else None,
        open_timeout=TIMEOUT_S,
    ) as socket:
        yield socket


def test_a_client_receives_the_events_of_its_orders(service: Service, ada: Any) -> None:
    with watching(service, ada) as stream:
        order = _place(service, ada)
        created = stream.next()
        _change(service, ada, order["id"], 7)
        changed = stream.next()
        service.client.post(f"/api/orders/{order['id']}/cancel", headers=ada.headers)
        cancelled = stream.next()

    assert [event["event"] for event in (created, changed, cancelled)] == [
        "order.created",
        "order.changed",
        "order.cancelled",
    ]
    assert json.loads(created["data"]) == order
    assert json.loads(changed["data"])["quantity"] == 7
    assert json.loads(cancelled["data"])["status"] == "cancelled"
    assert len({event["id"] for event in (created, changed, cancelled)}) == 3


def test_a_client_receives_no_events_of_other_users(service: Service, ada: Any, bob: Any) -> None:
    with watching(service, ada) as stream:
        _place(service, bob)
        mine = _place(service, ada)

        assert json.loads(stream.next()["data"])["id"] == mine["id"]


def test_a_client_that_reconnects_receives_missed_events(service: Service, ada: Any) -> None:
    with watching(service, ada) as stream:
        _place(service, ada)
        last = stream.next()["id"]
    missed = [_place(service, ada)["id"] for _ in range(3)]

    with watching(service, ada, **{"Last-Event-ID": last}) as stream:
        assert [json.loads(stream.next()["data"])["id"] for _ in missed] == missed
        live = _place(service, ada)
        assert json.loads(stream.next()["data"])["id"] == live["id"]


@pytest.mark.parametrize("invalid", ["abc", "-1", "1" * 19])
def test_an_invalid_id_of_the_last_event_is_refused(service: Service, ada: Any, invalid: str) -> None:
    refused = service.client.get("/api/orders/events", headers=ada.headers | {"Last-Event-ID": invalid})
    url = f"{service.url.replace('http', 'ws', 1)}/api/orders/live?last_event_id={invalid}"
    with pytest.raises(InvalidStatus) as caught, connect(url, additional_headers=ada.headers):
        pass

    assert refused.status_code == 400
    [error] = refused.json()["errors"]
    assert (error["field"], error["location"]) == ("Last-Event-ID", "header")
    assert error["message"].startswith("is not the `id` of a received event")
    assert caught.value.response.status_code == 403


def test_a_rejected_order_has_no_event(service: Service, ada: Any) -> None:
    with watching(service, ada) as stream:
        rejected = service.client.post(
            "/api/orders", json={"product_type": "oak-plank", "quantity": 0}, headers=ada.placing
        )
        assert rejected.status_code == 400
        placed = _place(service, ada)

        assert json.loads(stream.next()["data"])["id"] == placed["id"]


@pytest.mark.parametrize("by_subprotocol", [False, True], ids=["header", "subprotocol"])
def test_a_websocket_receives_the_same_events(
    service: Service, ada: Any, bob: Any, by_subprotocol: bool
) -> None:
    with listening(service, ada, by_subprotocol=by_subprotocol) as socket:
        if by_subprotocol:
            assert socket.subprotocol == "bearer"
        _place(service, bob)
        order = _place(service, ada)

        message = json.loads(socket.recv(timeout=TIMEOUT_S))

    assert (message["type"], message["order"]) == ("order.created", order)


def test_messages_of_a_websocket_client_are_ignored(service: Service, ada: Any) -> None:
    with listening(service, ada) as socket:
        socket.send("hello")
        socket.send(b"\xff\x00")
        order = _place(service, ada)

        assert json.loads(socket.recv(timeout=TIMEOUT_S))["order"]["id"] == order["id"]


def test_a_websocket_requires_a_valid_token(service: Service, forged: Any) -> None:
    url = service.url.replace("http", "ws", 1) + "/api/orders/live"

    for headers in ({}, {"Authorization": f"Bearer {forged('expired')}"}):
        with (
            pytest.raises((InvalidStatus, ConnectionClosed)) as caught,
            connect(url, additional_headers=headers, open_timeout=TIMEOUT_S) as socket,
        ):
            socket.recv(timeout=TIMEOUT_S)
        if isinstance(caught.value, InvalidStatus):
            assert caught.value.response.status_code in {401, 403}
        else:
            assert caught.value.rcvd is not None
            assert caught.value.rcvd.code == 4401


def test_a_websocket_resumes_after_the_last_event(service: Service, ada: Any) -> None:
    with listening(service, ada) as socket:
        _place(service, ada)
        last = json.loads(socket.recv(timeout=TIMEOUT_S))["id"]
    missed = [_place(service, ada)["id"] for _ in range(3)]

    url = f"{service.url.replace('http', 'ws', 1)}/api/orders/live?last_event_id={last}"
    with connect(url, additional_headers=ada.headers, open_timeout=TIMEOUT_S) as socket:
        assert [json.loads(socket.recv(timeout=TIMEOUT_S))["order"]["id"] for _ in missed] == missed


def test_a_client_that_was_away_for_too_long_is_informed_of_the_gap(
    env_of: Callable[[str], dict[str, str]], database_url: str, fresh: Any
) -> None:
    with running("orders", env_of(database_url)) as service:
        with watching(service, fresh) as stream:
            for _ in range(3):
                _place(service, fresh)
            events = [stream.next() for _ in range(3)]
        first = events[0]["id"]
        # As after the retention.
        rows(database_url, f"DELETE FROM outbox WHERE position < {events[2]['id']}")

        with watching(service, fresh, **{"Last-Event-ID": first}) as stream:
            gap = stream.next()
            assert (gap["event"], json.loads(gap["data"])) == ("gap", {"last_event_id": first})
            assert stream.next()["id"] == events[2]["id"]
        with watching(service, fresh, **{"Last-Event-ID": gap["id"]}) as stream:
            assert stream.next()["id"] == events[2]["id"]
        with listening(service, fresh, after=first) as socket:
            message = json.loads(socket.recv(timeout=TIMEOUT_S))
            assert message == {"type": "gap", "id": gap["id"], "last_event_id": first}
            assert json.loads(socket.recv(timeout=TIMEOUT_S))["id"] == events[2]["id"]


def test_a_websocket_of_another_origins_page_is_refused(service: Service, ada: Any) -> None:
    headers = ada.headers | {"Origin": "https://evil.example.com"}
    url = service.url.replace("http", "ws", 1) + "/api/orders/live"

    with pytest.raises(InvalidStatus) as refused, connect(url, additional_headers=headers):
        pass

    assert refused.value.response.status_code == 403


def test_live_events_end_with_the_token(service: Service, ada: Any, forged: Any) -> None:
    short = {"Authorization": f"Bearer {forged('none', sub=ada.id, lifetime_s=3)}"}
    with (
        httpx2.Client(base_url=service.url, timeout=TIMEOUT_S) as client,
        client.stream("GET", "/api/orders/events", headers=short) as response,
    ):
        assert response.status_code == 200
        # Returns when the stream ends.
        assert response.read().endswith(b'event: end\r\ndata: {"code":4401,"reason":"token expired"}\r\n\r\n')


def _place(service: Service, person: Any) -> dict[str, Any]:
    response = service.client.post(
        "/api/orders", json={"product_type": "oak-plank", "quantity": 1}, headers=person.placing
    )
    assert response.status_code == 201, response.text
    order: dict[str, Any] = response.json()
    return order


def _change(service: Service, person: Any, order_id: str, quantity: int) -> None:
    response = service.client.patch(
        f"/api/orders/{order_id}", json={"quantity": quantity}, headers=person.headers | {"If-Match": "*"}
    )
    assert response.status_code == 200, response.text
