"""Conditional requests (RFC 9110, 13), also with entity tags that compressing proxies have changed."""

from uuid import uuid4

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from litestar.exceptions import ClientException
from starkeel_http import EntityTags
from starkeel_testing import Service

CHANGED_BY_PROXIES = [
    'W/"1"',  # nginx, HAProxy, Cloudflare, Amazon CloudFront, Envoy
    '"1-gzip"',  # Apache, Caddy
    '"1-br"',
    '"1-zstd"',
    'W/"1-gzip"',
    '"1;gzip"',
    '"1--gzip"',  # Jetty
]


def read(sample: Service, path: str = "/documents/known", **headers: str) -> httpx2.Response:
    return sample.client.get(path, headers={name.replace("_", "-"): text for name, text in headers.items()})


@pytest.mark.parametrize("if_none_match", ['"1"', '"0", "1"', "*", *CHANGED_BY_PROXIES])
def test_an_unchanged_resource_is_not_sent_again(sample: Service, if_none_match: str) -> None:
    full = read(sample)

    response = read(sample, If_None_Match=if_none_match)

    assert (response.status_code, response.content) == (304, b"")
    assert {"content-length", "content-type"}.isdisjoint(response.headers)
    for header in ("etag", "cache-control"):
        assert response.headers[header] == full.headers[header]


@pytest.mark.parametrize(
    ("header", "tags", "status"),
    [
        ("If-None-Match", '"2"', 200),
        ("If-None-Match", '"1-other"', 200),
        ("If-Match", '"1"', 200),
        ("If-Match", "*", 200),
        ("If-Match", '"2"', 412),
        ("If-Match", '"2", "3"', 412),
        ("If-Match", "1", 400),
        ("If-None-Match", "1", 400),
    ],
)
def test_a_condition_of_a_read_is_evaluated(sample: Service, header: str, tags: str, status: int) -> None:
    assert sample.client.get("/documents/known", headers={header: tags}).status_code == status
    assert sample.client.head("/documents/known", headers={header: tags}).status_code == status


@pytest.mark.parametrize("path", ["/documents/unknown", "/query"])
@pytest.mark.parametrize("header", ["If-Match", "If-None-Match"])
def test_an_error_is_not_replaced_by_a_condition(sample: Service, header: str, path: str) -> None:
    status = sample.client.get(path).status_code
    assert status >= 400

    assert sample.client.get(path, headers={header: '"1"'}).status_code == status


def test_a_streamed_response_ends_when_it_is_not_needed(sample: Service) -> None:
    response = read(sample, "/streamed-document", If_None_Match='"1"')

    assert (response.status_code, response.content) == (304, b"")
    sample.wait_for_log("document ended")


@pytest.mark.parametrize(
    ("exists", "headers", "status"),
    [
        (True, {}, 204),
        (True, {"If-Match": '"1"'}, 204),
        (True, {"If-Match": "*"}, 204),
        (True, {"If-Match": '"2"'}, 412),
        (True, {"If-None-Match": "*"}, 412),
        (True, {"If-None-Match": '"1"'}, 412),
        (True, {"If-None-Match": '"2"'}, 204),
        (True, {"If-Match": '"1"', "If-None-Match": '"1"'}, 412),
        (True, {"If-Match": "1"}, 400),
        (False, {"If-None-Match": "*"}, 204),
        (False, {"If-Match": "*"}, 412),
        (False, {"If-Match": '"1"'}, 412),
        *[(True, {"If-Match": tag}, 204) for tag in CHANGED_BY_PROXIES],
    ],
)
def test_a_false_condition_prevents_a_write(
    sample: Service, exists: bool, headers: dict[str, str], status: int
) -> None:
    path = f"/documents/{uuid4().hex}"
    if exists:
        assert sample.client.put(path).status_code == 204

    response = sample.client.put(path, headers=headers)

    assert response.status_code == status
    expected = '"1"' if exists else None
    if status == 204:
        expected = '"2"' if exists else '"1"'
    assert sample.client.get(path).headers.get("etag") == expected


@given(st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=9))
def test_the_tag_of_a_response_matches_itself(value: str) -> None:
    assert EntityTags.parse(f'"other", "{value}-gzip"').match(f'"{value}"')
    assert EntityTags.parse(f'W/"{value}"').match(f'"{value}"')
    assert not EntityTags.parse(f'"{value}x"').match(f'"{value}"')


@pytest.mark.parametrize(
    "text", ["", "1", '"1', "1, 2", '"a, b"', '"1" "2"', '"1",', "*, *", "\x00", '"1"' * 2000]
)
def test_an_invalid_list_of_tags_is_rejected(text: str) -> None:
    with pytest.raises(ClientException, match="`If-Match` must be") as caught:
        EntityTags.parse(text)

    assert caught.value.status_code == 400


@given(st.text(max_size=100))
def test_any_text_is_a_list_of_tags_or_a_client_error(text: str) -> None:
    try:
        tags = EntityTags.parse(text)
    except ClientException:
        return
    assert tags.values is None or '"' in text
