"""No response and no line of an ordinary application repeats a submitted value."""

import ast
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import litestar
import msgspec
import pytest
from litestar.exceptions import ClientException, HTTPException, ValidationException
from starkeel_http._errors.problem import problem_from_exception

from tests.support.asgi_servers import Served, served

VALUE = "hunter2"
BODIES: list[Any] = [
    {"name": VALUE, "size": 1},
    {"name": "a", "size": VALUE},
    {"name": "a", "size": 1, "kind": VALUE},
    {"name": "a", "size": 1, "colour": VALUE},
    {"name": "a", "size": 1, "id": VALUE},
    {"name": "refused-hunter2", "size": 1},
    {"name": "a", "size": 13, "kind": "nail", "colour": VALUE},
    {"name": "a", "size": 1, "parts": [{"code": VALUE}, {"code": "1", "other": VALUE}]},
    {"name": "a", "size": 1, "prices": {VALUE: VALUE}},
    {"name": 1, "size": VALUE, "kind": VALUE},
    VALUE,
    [VALUE],
]
BACKENDS = ["msgspec", "dataclass", "typed-dict", "attrs", "pydantic"]
JSON_PATHS = [
    *BACKENDS,
    *(f"{backend}-list" for backend in ("msgspec", "pydantic")),
    *(f"{backend}-dto" for backend in ("msgspec", "dataclass", "pydantic")),
    *(f"in-handler/{how}" for how in ("msgspec", "convert", "litestar", "pydantic", "attrs", "chained")),
]


@pytest.fixture(scope="module", params=["app", "debug_app"])
def ordinary(request: pytest.FixtureRequest) -> Iterator[Served]:
    with served("uvicorn", f"http_sample.backends:{request.param}", Path(__file__).parent) as running:
        yield running


@pytest.mark.parametrize("path", JSON_PATHS)
def test_a_json_body_is_not_repeated(ordinary: Served, path: str) -> None:
    refused = 0
    for body in BODIES:
        sent = [body] if path.endswith("-list") else body
        response = httpx2.post(f"{ordinary.url}/{path}", json=sent)
        refused += response.status_code >= 400
        _check(response, is_from_handler=path.startswith("in-handler"))
    assert refused >= 5
    assert VALUE not in ordinary.output


@pytest.mark.parametrize("path", ["form", "pydantic-form", "multipart", "msgpack"])
def test_a_body_of_another_media_type_is_not_repeated(ordinary: Served, path: str) -> None:
    url, refused = f"{ordinary.url}/{path}", 0
    for body in (body for body in BODIES if isinstance(body, dict)):
        texts = {name: str(value) for name, value in body.items()}
        response = (
            httpx2.post(url, content=msgspec.msgpack.encode(body))
            if path == "msgpack"
            else httpx2.post(url, data=texts, files={"file": b""} if path == "multipart" else None)
        )
        refused += response.status_code >= 400
        _check(response)
    assert refused >= 5
    for content in (b"\xa7hunter2\xff", b"hunter2"):
        headers = {"Content-Type": "multipart/form-data; boundary=hunter2"}
        _check(httpx2.post(url, content=content, headers=headers), status=400 if path == "multipart" else 415)
    assert VALUE not in ordinary.output


@pytest.mark.parametrize(
    ("field", "location"),
    [
        *((name, "query") for name in ("kind", "colour", "key", "sizes", "pattern")),
        ("X-Tag", "header"),
        ("seen", "cookie"),
    ],
)
def test_a_parameter_is_not_repeated(ordinary: Served, field: str, location: str) -> None:
    response = httpx2.get(
        f"{ordinary.url}/parameters/1",
        params={field: VALUE, "other": VALUE} if location == "query" else {"other": VALUE},
        headers={field: VALUE} if location == "header" else {},
        cookies={field: VALUE} if location == "cookie" else {},
    )

    assert response.status_code == 400
    [error] = response.json()["errors"]
    assert (error["field"], error["location"]) == (field, location)
    _check(response)


def test_a_missing_parameter_is_named_without_the_query(ordinary: Served) -> None:
    response = httpx2.get(f"{ordinary.url}/required", params={"other": VALUE})

    assert response.json()["errors"] == [{"field": "token", "message": "is required", "location": "query"}]
    _check(response)


NAME_FORMAT = "lower-case letters, digits and `-`, starting with a letter other than `h`"


def test_the_format_of_a_field_is_described_in_words(ordinary: Served) -> None:
    sent = httpx2.post(f"{ordinary.url}/msgspec", json={"name": "A", "size": 1}).json()
    queried = httpx2.get(f"{ordinary.url}/parameters/1", params={"pattern": "A"}).json()

    body = {
        "field": "name",
        "message": f"does not have the expected format: {NAME_FORMAT}",
        "location": "body",
    }
    assert sent["errors"] == [body]
    assert sent["detail"] == f"`name`: does not have the expected format: {NAME_FORMAT}"
    message = "does not have the expected format: lower-case letters"
    assert queried["errors"] == [{"field": "pattern", "message": message, "location": "query"}]


EXPECTED = {
    "name": "does not have the expected format",
    "size": "Expected `int`",
    "kind": "is not one of `plank`, `nail`",
    "parts[0].code": "Expected `str` of length <= 4",
    "parts[1].code": "is required",
    "parts[1].other": "is unknown",
    "prices": "Expected `int`",
}


def test_all_errors_of_pydantic_are_listed_in_the_style_of_msgspec(ordinary: Served) -> None:
    body = {
        "name": "A",
        "size": "x",
        "kind": "x",
        "parts": [{"code": "12345"}, {"other": 1}],
        "prices": {"a": "x", "b": "x"},
    }

    problem = httpx2.post(f"{ordinary.url}/pydantic", json=body).json()

    assert {error["field"]: error["message"] for error in problem["errors"]} == EXPECTED
    assert len(problem["errors"]) == len(EXPECTED)


@pytest.mark.parametrize("backend", BACKENDS)
def test_each_invalid_field_is_listed_once(ordinary: Served, backend: str) -> None:
    body = {"name": 1, "size": "x", "kind": "x"}

    problem = httpx2.post(f"{ordinary.url}/{backend}", json=body).json()

    assert sorted(error["field"] for error in problem["errors"]) == ["kind", "name", "size"]
    assert {error["location"] for error in problem["errors"]} == {"body"}


@pytest.mark.parametrize("backend", ["msgspec", "dataclass", "pydantic", "pydantic-dto"])
def test_a_validator_chooses_a_message_for_clients(ordinary: Served, backend: str) -> None:
    body = {"name": "public", "size": 1}

    response = httpx2.post(f"{ordinary.url}/{backend}", json=body)

    assert [error["message"] for error in response.json()["errors"]] == ["is reserved"]


@pytest.mark.parametrize("backend", ["msgspec-dto", "dataclass-dto"])
def test_values_that_the_model_of_a_dto_refuses_are_a_client_error(ordinary: Served, backend: str) -> None:
    response = httpx2.post(f"{ordinary.url}/{backend}", json={"name": "refused-hunter2", "size": 1})

    assert (response.status_code, response.json()["detail"]) == (400, "`body`: is not valid")


DETAILS_WITH_VALUES = {
    "Invalid content-length: {}",
    "Missing required {} parameter {} for path {}",
    "Validation failed for {} {}",
    "failed to open {} due to missing permissions",
    "failed to read {} due to missing permissions",
    "no file or directory match the path {} was found",
}
"""Templates of Litestar's exceptions for clients that contain a value; each is replaced."""


def test_no_other_exception_of_litestar_has_a_value_in_its_detail() -> None:
    found = set()
    exceptions = {name for name in litestar.exceptions.__all__ if _is_for_clients(name)}
    for file in Path(litestar.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in exceptions:
                texts = [*node.args, *(each.value for each in node.keywords if each.arg == "detail")]
                found |= {_template(text) for text in texts if isinstance(text, ast.JoinedStr)}

    # A developer's mistake at start, not a request.
    assert found - {"Invalid HTTP method: {}"} == DETAILS_WITH_VALUES


@pytest.mark.parametrize("template", sorted(each for each in DETAILS_WITH_VALUES if each[:7] != "Missing"))
def test_a_detail_of_litestar_is_not_repeated(template: str) -> None:
    exception = ValidationException if template[0] == "V" else ClientException
    error = exception(template.replace("{}", VALUE))

    problem = problem_from_exception(error, {"type": "http"})  # type: ignore[typeddict-item]
    assert (problem.status, VALUE in problem.detail) == (400, False)


def _is_for_clients(name: str) -> bool:
    exception = getattr(litestar.exceptions, name)
    return issubclass(exception, HTTPException) and exception.status_code < 500


def _template(text: ast.JoinedStr) -> str:
    return "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in text.values)


def _check(response: httpx2.Response, *, is_from_handler: bool = False, status: int = 400) -> None:
    if response.status_code < 300:
        return
    assert response.status_code == (500 if is_from_handler else status), response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert VALUE not in response.text
    fields = [error["field"] for error in response.json().get("errors", ())]
    assert len(fields) == len(set(fields)), json.dumps(response.json())
