"""Live events of the caller's crates, and events for other services."""

import json
from typing import Any

import httpx2
import redis
from starkeel_testing import Service, running, wait_until

PATH = "/api/depot/crates"


def test_a_client_receives_the_events_of_its_crates(service: Service, ada: Any, bob: Any) -> None:
    with (
        httpx2.Client(base_url=service.url, timeout=20) as client,
        client.stream("GET", "/api/depot/events", headers=ada.headers) as response,
    ):
        assert response.headers["content-type"].startswith("text/event-stream")
        _created(service, bob)
        crate, etag = _created(service, ada)
        path = f"{PATH}/{crate['id']}"
        headers = ada.headers | {"If-Match": etag}
        changed = service.client.patch(path, json={"quantity": 7}, headers=headers)
        headers["If-Match"] = changed.headers["etag"]
        assert service.client.delete(path, headers=headers).status_code == 204
        events = _events(response, 3)

    assert [event["event"] for event in events] == ["crate.created", "crate.changed", "crate.deleted"]
    assert json.loads(events[0]["data"]) == crate
    assert [json.loads(event["data"])["quantity"] for event in events] == [1, 7, 7]


def test_a_client_that_reconnects_receives_the_events_it_missed(service: Service, fresh: Any) -> None:
    with httpx2.Client(base_url=service.url, timeout=20) as client:
        with client.stream("GET", "/api/depot/events", headers=fresh.headers) as response:
            _created(service, fresh)
            [seen] = _events(response, 1)
        missed, _ = _created(service, fresh)
        headers = fresh.headers | {"Last-Event-ID": seen["id"]}
        with client.stream("GET", "/api/depot/events", headers=headers) as response:
            [event] = _events(response, 1)

    assert json.loads(event["data"]) == missed


# template if broker
def test_redis_receives_every_event_once_and_in_order(
    env: dict[str, str], redis_url: str, new_person: Any
) -> None:
    people = [new_person() for _ in range(2)]
    env = env | {"WORKERS": "2", "BROKER_URL": redis_url}
    with running("depot", env) as service, redis.Redis.from_url(redis_url) as stream:
        created = {person.id: [_created(service, person)[0]["id"] for _ in range(3)] for person in people}
        wait_until(lambda: stream.xlen("events:depot") >= 6, timeout_s=30, what="all events")
        events = [json.loads(fields[b"event"]) for _, fields in stream.xrange("events:depot")]

    assert len({event["id"] for event in events}) == len(events) == 6
    for user_id, ids in created.items():
        own = [event for event in events if event["partitionkey"] == user_id]
        assert [event["data"]["id"] for event in own] == ids
        assert {event["type"] for event in own} == {"crate.created"}


def test_requests_succeed_while_the_broker_is_unavailable(
    env: dict[str, str], free_port: int, new_person: Any
) -> None:
    env = env | {"BROKER_URL": f"redis://127.0.0.1:{free_port}/0"}
    with running("depot", env) as service:
        _created(service, new_person())
        service.wait_for_log("events not published")
        assert service.client.get("/health/ready").status_code == 200


# template end
def _created(service: Service, person: Any) -> tuple[dict[str, Any], str]:
    creation = {"name": "oak-plank", "quantity": 1}
    response = service.client.post(PATH, json=creation, headers=person.creating)
    assert response.status_code == 201, response.text
    return response.json(), response.headers["etag"]


def _events(response: httpx2.Response, count: int) -> list[dict[str, str]]:
    """Read events; the client's timeout limits the wait."""
    assert response.status_code == 200
    events: list[dict[str, str]] = []
    fields: dict[str, str] = {}
    for line in response.iter_lines():
        name, _, value = line.partition(": ")
        if name and not line.startswith(":"):
            fields[name] = value
        elif not line and "data" in fields:
            events.append(fields)
            fields = {}
        if len(events) == count:
            break
    return events
