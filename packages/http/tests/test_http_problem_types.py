"""URIs of problem types."""

from pathlib import Path
from typing import Annotated, Any

import msgspec
import pytest
from litestar import Litestar, get, post
from litestar.exceptions import HTTPException
from litestar.params import FromPath, JSONBody
from litestar.testing import TestClient
from starkeel_config import ConfigurationError, load
from starkeel_http import PROBLEM_TYPES, HttpPlugin, HttpSettings

URL = "https://api.example.com/docs/errors#"
ERRORS = Path(__file__).parents[3] / "docs" / "errors.md"


class Thing(msgspec.Struct):
    count: Annotated[int, msgspec.Meta(ge=1)]


@get("/problems/{status:int}")
async def problem(status: FromPath[int]) -> None:
    raise HTTPException(status_code=status)


@post("/things")
async def create(data: JSONBody[Thing]) -> None:
    del data


def client(url: str | None) -> TestClient[Litestar]:
    app = Litestar([problem, create], plugins=[HttpPlugin(HttpSettings(problem_types_url=url))])
    return TestClient(app)


def type_of(response: Any) -> str:
    return str(response.json()["type"])


def test_a_type_is_the_setting_with_the_name_of_the_type() -> None:
    with client(URL) as http:
        for each in PROBLEM_TYPES:
            if each.name != "invalid-fields":
                assert type_of(http.get(f"/problems/{each.status}")) == f"{URL}{each.name}"
        assert type_of(http.post("/things", json={"count": 0})) == f"{URL}invalid-fields"
        assert type_of(http.post("/things", content=b"{")) == f"{URL}bad-request"
        # Those of the edge and of unmatched routes.
        assert type_of(http.get("/nowhere")) == f"{URL}not-found"
        assert type_of(http.delete("/things")) == f"{URL}method-not-allowed"
        assert type_of(http.post("/things", content=b"x" * 2_000_000)) == f"{URL}content-too-large"
        assert type_of(http.get("/problems/418")) == "about:blank"


def test_without_the_setting_a_type_is_blank() -> None:
    with client(None) as http:
        for each in PROBLEM_TYPES:
            assert type_of(http.get(f"/problems/{each.status}")) == "about:blank"


def test_two_applications_have_their_own_types() -> None:
    with client(URL) as first, client(None) as second:
        assert type_of(second.get("/problems/404")) == "about:blank"
        assert type_of(first.get("/problems/404")) == f"{URL}not-found"


def test_every_type_leads_to_a_section() -> None:
    names = [each.name for each in PROBLEM_TYPES]
    sections = [line[3:] for line in ERRORS.read_text().splitlines() if line.startswith("## ")]

    assert sections == names
    assert len(set(names)) == len(names)


def test_the_names_do_not_change() -> None:
    """They are compared by clients: add to this list, and remove nothing."""
    assert {each.name for each in PROBLEM_TYPES} >= {
        "invalid-fields", "bad-request", "unauthorized", "forbidden", "not-found", "method-not-allowed",
        "not-acceptable", "request-timeout", "conflict", "gone", "precondition-failed", "content-too-large",
        "uri-too-long", "unsupported-media-type", "misdirected-request", "unprocessable-content",
        "precondition-required", "too-many-requests", "headers-too-large", "internal-server-error",
        "bad-gateway", "service-unavailable", "gateway-timeout",
    }  # fmt: skip


@pytest.mark.parametrize("value", ["/errors/", "ftp://example.com/", "https://example.com/errors"])
def test_an_unusable_url_is_refused(value: str) -> None:
    with pytest.raises(ConfigurationError, match="PROBLEM_TYPES_URL"):
        load(HttpSettings, {"PROBLEM_TYPES_URL": value, "ENVIRONMENT": "development"}, service="shop")
