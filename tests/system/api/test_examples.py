"""Every operation has examples; they are valid, and the service returns the documented response to them."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import jsonschema
import pytest
from starkeel_testing import Service, running

from ...support.api_cases import api_cases
from ...support.fleet import Fleet
from ...support.operations import EVENT_STREAM, Operation, examples, operations, response_to

CASES = [(service, name) for service, cases in api_cases().items() for name in cases.examples]


def document_of(service: Service) -> dict[str, Any]:
    document: dict[str, Any] = service.client.get("/schema/openapi.json").json()
    return document


def check(document: Mapping[str, Any], schema: Mapping[str, Any], value: Any) -> None:
    """Raise if a value is not valid."""
    whole = {**schema, "components": document["components"]}
    formats = jsonschema.Draft202012Validator.FORMAT_CHECKER
    jsonschema.Draft202012Validator(whole, format_checker=formats).validate(value)


def bodies(operation: Operation) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the media type objects of the request and of every response."""
    if (body := operation.body()) is not None:
        yield "request", body
    for status in operation.described["responses"]:
        if (response := operation.response(status)) is not None:
            yield f"response {status}", response[1]


@pytest.mark.parametrize("service", api_cases())
def test_every_operation_has_valid_examples(fleet: Fleet, service: str) -> None:
    document = document_of(fleet.services[service])
    for operation in operations(document):
        for place, media_type in bodies(operation):
            assert examples(media_type), f"{operation.name}: {place} has no example"
            for value in examples(media_type):
                check(document, media_type["schema"], value)
        for parameter in operation.parameters:
            assert examples(parameter), f"{operation.name}: {parameter['name']} has no example"
            for value in examples(parameter):
                check(document, parameter["schema"], value)


@pytest.mark.parametrize("service", api_cases())
def test_every_link_leads_to_an_operation_with_these_parameters(fleet: Fleet, service: str) -> None:
    found = operations(document_of(fleet.services[service]))
    by_id = {each.described["operationId"]: each for each in found}
    links = [
        link
        for operation in found
        for response in operation.described["responses"].values()
        for link in response.get("links", {}).values()
    ]
    assert links or not api_cases()[service].has_objects, "no link leads to an object"
    for link in links:
        target = by_id[link["operationId"]]
        names = {parameter["name"] for parameter in target.parameters}
        assert link.get("parameters", {}).keys() <= names, link
        assert ("requestBody" in link) <= (target.body() is not None), link


@pytest.mark.parametrize("service", api_cases())
def test_every_success_response_is_executed(fleet: Fleet, service: str) -> None:
    found = operations(document_of(fleet.services[service]))
    documented = {f"{each.name} {status}" for each in found for status in each.successes()}

    rows = set(api_cases()[service].examples)
    assert sorted(documented - rows) == [], f"add rows to services/{service}/tests/api_cases.py"
    assert sorted(rows - documented) == [], f"remove rows from services/{service}/tests/api_cases.py"


@contextmanager
def serving(fleet: Fleet, service: str, env: Mapping[str, str], database_url: str) -> Iterator[Service]:
    if not env:
        yield fleet.services[service]
        return
    with running(service, {"DATABASE_URL": database_url, **env}) as started:
        yield started


@pytest.mark.parametrize(("service", "name"), CASES)
def test_the_examples_get_the_documented_response(
    fleet: Fleet, tmp_path: Any, service: str, name: str
) -> None:
    row = api_cases()[service].examples[name]
    operation_name, _, status = name.rpartition(" ")
    with serving(fleet, service, row.env, f"sqlite:///{tmp_path}/{service}.db") as started:
        document = document_of(started)
        operation = next(each for each in operations(document) if each.name == operation_name)
        person = fleet.new_person()
        headers = {"Authorization": person.bearer} if row.is_authenticated else {}
        if row.has_service_credentials:
            headers["Authorization"] = fleet.service_credentials
        etag = ""
        if "$etag" in row.headers.values():
            with response_to(started, operation, headers=headers, values={}) as before:
                etag = before.headers["etag"]
        values = fleet.values(person, service) | row.resolved(row.values, person.email, etag)
        headers |= row.resolved(row.headers, person.email, etag)
        if row.mail:
            values["token"] = fleet.mailed_token(person, row.mail)

        with response_to(started, operation, headers=headers, values=values) as response:
            if response.status_code != int(status):
                response.read()
            assert response.status_code == int(status), response.text
            described = operation.response(int(status))
            if described is None:
                assert response.content == b""
                return
            media_type, media = described
            assert response.headers["content-type"].partition(";")[0] == media_type
            if media_type == EVENT_STREAM:
                assert next(response.iter_lines()).startswith((":", "event:", "id:", "retry:"))
                return
            check(document, media["schema"], json.loads(response.content))
