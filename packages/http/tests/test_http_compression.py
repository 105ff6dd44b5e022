"""Compressed responses: which ones, by which coding, and what else changes (RFC 9110, 8.4 and 12.5.3)."""

import gzip
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import brotli
import httpx2
import pytest
from backports import zstd
from starkeel_http import HttpSettings
from starkeel_testing import Service

DECODERS: dict[str | None, Callable[[bytes], bytes]] = {
    None: bytes,
    "gzip": gzip.decompress,
    "zstd": zstd.decompress,
    "br": brotli.decompress,
}


@pytest.fixture(scope="module")
def sample(run_sample: Any) -> Iterator[Service]:
    with run_sample(
        COMPRESSION_CODINGS="zstd,gzip,br", CORS_ALLOWED_ORIGINS="https://shop.example.com"
    ) as service:
        yield service


def raw(
    sample: Service, path: str, accept: str | None, method: str = "GET", **headers: str
) -> httpx2.Response:
    """Send a request and keep the body as it was sent."""
    given = {name.replace("_", "-"): text for name, text in headers.items()}
    request = httpx2.Request(method, sample.url + path, headers=given)
    if accept is not None:
        request.headers["Accept-Encoding"] = accept
    response = sample.client.send(request, stream=True)
    response.extensions["raw"] = b"".join(response.iter_raw())
    return response


def decoded(response: httpx2.Response) -> bytes:
    return DECODERS[response.headers.get("content-encoding")](response.extensions["raw"])


@pytest.mark.parametrize(
    ("accept", "coding"),
    [
        (None, None),
        ("", None),
        ("identity", None),
        ("gzip", "gzip"),
        ("GZIP", "gzip"),
        ("x-gzip", "gzip"),
        ("br", "br"),
        ("zstd", "zstd"),
        ("gzip, deflate, br, zstd", "zstd"),
        ("gzip, br", "gzip"),
        ("deflate", None),
        ("*", "zstd"),
        ("gzip;q=0.5, zstd;q=0.4", "gzip"),
        ("gzip;q=1.0, zstd; q=0.999", "gzip"),
        ("br;q=1, *;q=0.5", "br"),
        ("zstd;q=0, *", "gzip"),
        ("gzip;q=0", None),
        ("*;q=0", None),
        ("identity, gzip;q=0.5", None),
        ("identity;q=0.1, gzip;q=0.5", "gzip"),
        ("identity;q=0, gzip;q=0.001", "gzip"),
        ("identity;q=0", None),
        ("gzip;q=2", None),
        ("gzip;q=x", None),
        ("gzip;q=0.1234", None),
        ("gzip, ,", "gzip"),
        ("gzip br", None),
        ("gzip, " + "a" * 2000, None),
    ],
)
def test_the_accepted_coding_of_the_highest_weight_is_used(
    sample: Service, accept: str | None, coding: str | None
) -> None:
    response = raw(sample, "/sized/5000", accept)

    assert response.status_code == 200
    assert response.headers.get("content-encoding") == coding
    assert "Accept-Encoding" in response.headers["vary"]
    assert int(response.headers["content-length"]) == len(response.extensions["raw"])
    assert len(decoded(response)) == 5000
    assert (len(response.extensions["raw"]) < 500) is (coding is not None)


@pytest.mark.parametrize(("size", "is_compressed"), [(0, False), (1023, False), (1024, True)])
def test_small_bodies_are_not_compressed(sample: Service, size: int, is_compressed: bool) -> None:
    response = raw(sample, f"/sized/{size}", "gzip")

    assert ("content-encoding" in response.headers) is is_compressed
    assert ("Accept-Encoding" in response.headers.get("vary", "")) is is_compressed
    assert len(decoded(response)) == size


def test_a_small_body_is_compressed_if_identity_is_not_acceptable(sample: Service) -> None:
    response = raw(sample, "/sized/100", "gzip, identity;q=0")

    assert response.headers["content-encoding"] == "gzip"
    assert len(decoded(response)) == 100


@pytest.mark.parametrize("name", ["no-transform", "encoded", "image", "untyped", "digest", "cookie"])
def test_responses_that_must_not_change_do_not(sample: Service, name: str) -> None:
    response = raw(sample, f"/unaltered/{name}", "gzip, identity;q=0")

    assert response.headers.get("content-encoding") == ("compress" if name == "encoded" else None)
    assert len(response.extensions["raw"]) == int(response.headers["content-length"]) == 18500
    assert "Accept-Encoding" not in response.headers.get("vary", "")


@pytest.mark.parametrize(
    ("method", "path", "headers", "is_compressed"),
    [
        ("GET", "/sized/5000", {}, True),
        ("GET", "/sized/5000", {"Authorization": "Bearer secret"}, False),
        ("GET", "/sized/5000", {"Cookie": "session=secret"}, False),
        ("GET", "/with-credentials", {"Authorization": "Bearer secret"}, True),
        ("GET", "/with-credentials", {"Cookie": "session=secret"}, True),
        ("POST", "/posted", {}, False),
        ("POST", "/posted-compressed", {}, True),
        ("GET", "/never-compressed", {}, False),
    ],
)
def test_responses_that_may_hold_a_secret_are_compressed_only_where_the_route_enables_it(
    sample: Service, method: str, path: str, headers: dict[str, str], is_compressed: bool
) -> None:
    response = raw(sample, path, "gzip", method, **headers)

    assert response.status_code == 200
    assert ("content-encoding" in response.headers) is is_compressed


def test_event_streams_are_not_compressed(sample: Service) -> None:
    with sample.client.stream(
        "GET", "/events", headers={"Accept-Encoding": "gzip, identity;q=0"}
    ) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        assert "content-encoding" not in response.headers
        assert b":" in next(response.iter_raw())


@pytest.mark.parametrize(("coding", "tag"), [("gzip", '"1-gzip"'), ("zstd", '"1-zstd"'), ("identity", '"1"')])
def test_each_coding_has_its_own_strong_tag(sample: Service, coding: str, tag: str) -> None:
    response = raw(sample, "/tagged/1", coding)

    assert response.headers["etag"] == tag

    same = raw(sample, "/tagged/1", coding, If_None_Match=tag)
    assert (same.status_code, same.headers["etag"], same.extensions["raw"]) == (304, tag, b"")
    assert "Accept-Encoding" in same.headers["vary"]
    assert "content-encoding" not in same.headers
    assert raw(sample, "/tagged/1", coding, If_Match=tag).status_code == 200
    assert raw(sample, "/tagged/2", coding, If_None_Match=tag).status_code == 200


@pytest.mark.parametrize(
    ("accept", "known", "tag"),
    [
        ("gzip, zstd", '"1-gzip"', '"1-gzip"'),
        ("gzip, zstd", '"1", "1-gzip", "1-zstd"', '"1-zstd"'),
        ("gzip", '"1", "1-gzip", "1-zstd"', '"1-gzip"'),
        ("gzip", '"1"', '"1"'),
        ("gzip", 'W/"1"', '"1"'),
        ("gzip", '"1-gzip-gzip"', '"1"'),
        ("gzip", "*", '"1-gzip"'),
        ("gzip", '"1-zstd"', None),
        ("identity", '"1-gzip"', None),
        ("gzip, identity;q=0", '"1"', None),
        ("gzip", '"2-gzip"', None),
    ],
)
def test_a_304_has_the_tag_of_a_variant_that_the_client_accepts(
    sample: Service, accept: str, known: str, tag: str | None
) -> None:
    response = raw(sample, "/tagged/1", accept, If_None_Match=known)

    if tag is None:
        assert response.status_code == 200
    else:
        assert (response.status_code, response.headers["etag"]) == (304, tag)


def test_a_weak_tag_is_the_same_with_every_coding(sample: Service) -> None:
    tags = {raw(sample, "/tagged/weak-1", coding).headers["etag"] for coding in ("gzip", "zstd", "identity")}

    assert tags == {'W/"1"'}
    assert raw(sample, "/tagged/weak-1", "gzip", If_None_Match='W/"1"').status_code == 304


def test_a_tag_of_a_compressed_response_is_accepted_for_a_change(sample: Service) -> None:
    assert raw(sample, "/posted-compressed", "zstd", "POST").headers["etag"] == '"7-zstd"'

    name = "changed-by-compressed-tag"
    assert sample.client.put(f"/documents/{name}").status_code == 204
    changed = sample.client.put(f"/documents/{name}", headers={"If-Match": '"1-zstd"'})
    assert (changed.status_code, changed.headers["etag"]) == (204, '"2"')
    assert sample.client.put(f"/documents/{name}", headers={"If-Match": '"1-zstd"'}).status_code == 412


def test_vary_keeps_what_the_handler_has_set(sample: Service) -> None:
    response = raw(sample, "/varying", "gzip", Origin="https://shop.example.com")

    varies = {member.strip() for member in response.headers["vary"].split(",")}
    assert varies == {"Accept-Language", "Accept-Encoding", "Origin"}


@pytest.mark.parametrize("accept", ["gzip", "zstd", "br", "identity"])
@pytest.mark.parametrize("path", ["/sized/5000", "/sized/10", "/tagged/1", "/huge", "/never-compressed"])
def test_head_has_the_headers_of_get(sample: Service, path: str, accept: str) -> None:
    got, head = (raw(sample, path, accept, method) for method in ("GET", "HEAD"))

    varying = {"date", "x-request-id"}
    assert head.extensions["raw"] == b""
    assert [each for each in head.headers.items() if each[0] not in varying] == [
        each for each in got.headers.items() if each[0] not in varying
    ]


@pytest.mark.parametrize("coding", ["gzip", "zstd", "br"])
def test_each_part_of_a_stream_can_be_decoded_when_it_arrives(sample: Service, coding: str) -> None:
    decoder: Any = {
        "gzip": lambda: zlib.decompressobj(31).decompress,
        "zstd": lambda: zstd.ZstdDecompressor().decompress,
        "br": lambda: brotli.Decompressor().process,
    }[coding]()
    with sample.client.stream("GET", "/text-stream", headers={"Accept-Encoding": coding}) as response:
        assert response.headers["content-encoding"] == coding
        assert "content-length" not in response.headers
        parts = response.iter_raw()
        text = b""
        while len(text) < 5:
            text += decoder(next(parts))
        assert text == b"first"
        assert sample.client.post("/text-stream/release").status_code == 201
        text += b"".join(map(decoder, parts))

    assert len(text) == 5 + 18500


def test_the_head_of_a_compressed_stream_ends_the_stream(sample: Service) -> None:
    response = raw(sample, "/endless-text", "gzip", "HEAD")

    assert (response.status_code, response.headers["content-encoding"]) == (200, "gzip")
    sample.wait_for_log("text ended")


@pytest.mark.parametrize("coding", ["gzip", "zstd", "br"])
def test_a_large_body_is_compressed_whole(sample: Service, coding: str) -> None:
    response = raw(sample, "/huge", coding)

    assert len(decoded(response)) == 18500 * 300
    assert int(response.headers["content-length"]) == len(response.extensions["raw"]) < 100_000


@pytest.mark.parametrize("accept", ["gzip", "identity"])
def test_a_refused_header_is_an_error_response(sample: Service, accept: str) -> None:
    response = raw(sample, "/broken-large", accept)

    assert (response.status_code, response.headers["content-type"]) == (500, "application/problem+json")
    assert b"Internal Server Error" in decoded(response)


def test_the_openapi_document_is_compressed(sample: Service) -> None:
    response = raw(sample, "/schema/openapi.json", "zstd")

    assert response.headers["content-encoding"] == "zstd"
    assert b'"openapi"' in decoded(response)


def test_ranges_are_not_supported(sample: Service) -> None:
    response = raw(sample, "/sized/5000", "gzip", Range="bytes=0-9")

    assert (response.status_code, len(decoded(response))) == (200, 5000)
    assert {"accept-ranges", "content-range"}.isdisjoint(response.headers)


def test_compression_can_be_disabled(run_sample: Any) -> None:
    with run_sample(COMPRESSION="false") as service:
        response = raw(service, "/with-credentials", "gzip, zstd")

    assert {"content-encoding", "vary"}.isdisjoint(response.headers)


def test_brotli_is_not_among_the_default_codings() -> None:
    assert HttpSettings().compression_codings == ("zstd", "gzip")
