"""Conditional reads by date, by the tag of a body, and before a handler has done its work (RFC 9110, 13)."""

from datetime import UTC, datetime
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from litestar import Litestar, get
from litestar.exceptions import ImproperlyConfiguredException
from litestar.response import ServerSentEvent
from starkeel_http import HttpPlugin, HttpSettings, entity_tag, http_date
from starkeel_testing import Service

AT = "Thu, 29 Feb 2024 12:30:15 GMT"
BEFORE = "Thu, 29 Feb 2024 12:30:14 GMT"
AFTER = "Fri, 01 Mar 2024 00:00:00 GMT"


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/dated", {"If-Modified-Since": AT}, 304),
        ("/dated", {"If-Modified-Since": AFTER}, 304),
        ("/dated", {"If-Modified-Since": BEFORE}, 200),
        ("/dated", {"If-Modified-Since": "Thursday, 29-Feb-24 12:30:15 GMT"}, 304),
        ("/dated", {"If-Modified-Since": "Thu Feb 29 12:30:15 2024"}, 304),
        ("/dated", {"If-Modified-Since": "yesterday"}, 200),
        ("/dated", {"If-Modified-Since": "1709209815"}, 200),
        ("/dated", {"If-Modified-Since": f"{AT}, {AT}"}, 200),
        ("/dated", {"If-Modified-Since": "Thu, 29 Feb 99999 12:30:15 GMT"}, 200),
        ("/dated", {"If-Unmodified-Since": AT}, 200),
        ("/dated", {"If-Unmodified-Since": BEFORE}, 412),
        ("/dated", {"If-Unmodified-Since": "yesterday"}, 200),
        ("/dated", {"If-Unmodified-Since": BEFORE, "If-Modified-Since": AT}, 412),
        ("/dated", {"If-None-Match": '"1"', "If-Modified-Since": AT}, 200),
        ("/dated-and-tagged", {"If-None-Match": '"2"', "If-Modified-Since": AT}, 200),
        ("/dated-and-tagged", {"If-None-Match": '"1"', "If-Modified-Since": BEFORE}, 304),
        ("/dated-and-tagged", {"If-Match": '"1"', "If-Unmodified-Since": BEFORE}, 200),
        ("/dated-and-tagged", {"If-Match": '"2"', "If-Unmodified-Since": AFTER}, 412),
        ("/dated-and-tagged", {"If-Match": '"2"', "If-None-Match": '"1"'}, 412),
        ("/documents/known", {"If-Modified-Since": AFTER}, 200),
        ("/documents/known", {"If-Unmodified-Since": BEFORE}, 200),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_dates_are_compared_where_tags_are_not(
    sample: Service, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    response = sample.client.request(method, path, headers=headers)

    assert response.status_code == status
    if status == 304:
        assert response.headers["last-modified"] == AT
        assert "content-length" not in response.headers


def test_a_write_ignores_dates(sample: Service) -> None:
    name = "dates"
    assert sample.client.put(f"/documents/{name}", headers={"If-Unmodified-Since": BEFORE}).status_code == 204


@pytest.mark.parametrize("accept", ["gzip", "identity"])
@pytest.mark.parametrize("size", [10, 5000])
def test_the_tag_of_a_body_is_weak_and_changes_with_it(sample: Service, size: int, accept: str) -> None:
    path, headers = f"/body-tagged/{size}", {"Accept-Encoding": accept}
    first, head = (sample.client.request(method, path, headers=headers) for method in ("GET", "HEAD"))

    tag = first.headers["etag"]
    assert tag.startswith('W/"')
    assert head.headers["etag"] == tag
    assert len(first.content) == size
    same = sample.client.get(path, headers=headers | {"If-None-Match": tag})
    assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", tag)
    assert sample.client.get(f"/body-tagged/{size + 1}", headers={"If-None-Match": tag}).status_code == 200


def test_a_streamed_body_has_a_tag_and_a_handler_keeps_its_own(sample: Service) -> None:
    streamed = sample.client.get("/body-tagged-stream")
    assert streamed.content == b"onetwo"
    assert streamed.headers["etag"].startswith('W/"')
    assert sample.client.get("/own-tag").headers["etag"] == '"own"'


def test_an_event_stream_has_no_tag_of_its_body() -> None:
    @get("/events", opt=entity_tag())
    async def events() -> ServerSentEvent:
        raise NotImplementedError

    with pytest.raises(ImproperlyConfiguredException, match="an event stream has no `entity_tag`"):
        Litestar([events], plugins=[HttpPlugin(HttpSettings())])


@pytest.mark.parametrize(
    ("accept", "headers", "tag"),
    [
        ("gzip", {"If-None-Match": '"1"'}, '"1"'),
        ("gzip", {"If-None-Match": '"1-gzip"'}, '"1-gzip"'),
        ("identity", {"If-None-Match": '"1"'}, '"1"'),
        ("identity", {"If-Modified-Since": AT}, '"1"'),
        ("identity", {"If-None-Match": "*"}, '"1"'),
    ],
)
def test_a_handler_renders_nothing_for_a_client_that_has_it(
    sample: Service, accept: str, headers: dict[str, str], tag: str
) -> None:
    ids = [uuid4().hex, uuid4().hex]
    headers |= {"Accept-Encoding": accept}

    response = sample.client.get("/cheap", headers=headers | {"X-Request-ID": ids[0]})

    assert (response.status_code, response.content, response.headers["etag"]) == (304, b"", tag)
    assert (response.headers["last-modified"], response.headers["cache-control"]) == (AT, "no-cache")
    assert "Accept-Encoding" in response.headers["vary"]
    assert "content-type" not in response.headers
    full = sample.client.get("/cheap", headers={"X-Request-ID": ids[1]})
    assert full.status_code == 200
    sample.wait_for_log("representation rendered", request_id=ids[1])
    assert not [
        line for line in sample.logs() if line.get("request_id") == ids[0] and "rendered" in line["message"]
    ]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"If-None-Match": '"2"'}, 200),
        ({"If-None-Match": '"1-gzip"', "Accept-Encoding": "identity"}, 200),
        ({"If-Match": '"2"', "If-None-Match": '"1"'}, 412),
        ({"If-None-Match": "1"}, 400),
    ],
)
def test_a_handler_renders_for_other_clients(sample: Service, headers: dict[str, str], status: int) -> None:
    assert sample.client.get("/cheap", headers=headers).status_code == status


@given(st.integers(min_value=0, max_value=200_000_000_000))
def test_a_date_has_the_format_of_rfc_9110(seconds: int) -> None:
    moment = datetime.fromtimestamp(seconds, UTC)

    assert http_date(moment) == moment.strftime("%a, %d %b %Y %H:%M:%S GMT")
