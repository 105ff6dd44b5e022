"""String types that validate their text."""

from contextlib import suppress
from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starkeel_config import ConfigurationError, HttpUrl, ParsedStr, Settings, Variable, resolve


class Color(ParsedStr):
    __slots__ = ()

    accepts = "a color such as #ff8800"

    @classmethod
    def canonical(cls, text: str) -> str:
        if len(text) != 7 or not text.startswith("#"):
            raise ValueError("is not a color")
        return text.lower()


class Themed(Settings, frozen=True, kw_only=True):
    color: Annotated[Color, Variable("COLOR")] = Color("#000000")
    home: Annotated[HttpUrl | None, Variable("HOME_URL")] = None


def test_a_value_is_validated_and_stored_in_canonical_form() -> None:
    resolved = resolve(Themed, {"COLOR": " #FF8800 "}, service="orders")

    assert resolved.settings.color == "#ff8800"
    assert type(resolved.settings.color) is Color
    assert resolved.entries[0].value == "#ff8800"


def test_an_invalid_value_is_reported_with_a_description() -> None:
    with pytest.raises(ConfigurationError) as caught:
        resolve(Themed, {"COLOR": "red"}, service="orders")

    (problem,) = caught.value.problems
    assert str(problem) == "COLOR is 'red': is not a color; accepted: a color such as #ff8800"


def test_an_instance_has_no_dictionary() -> None:
    assert not hasattr(Color("#000000"), "__dict__")
    assert not hasattr(HttpUrl("http://a"), "__dict__")


@pytest.mark.parametrize(
    "text",
    ["http://accounts", "https://accounts:8443/keys?format=jwk", "http://[::1]:3000/", "HTTP://accounts"],
)
def test_an_http_url_is_accepted_unchanged(text: str) -> None:
    url = HttpUrl.parse(text)

    assert url == text
    assert type(url) is HttpUrl


@pytest.mark.parametrize(
    "text",
    [
        "",
        "accounts:3000",
        "//accounts",
        "ftp://accounts",
        "http://",
        "http://accounts:0",
        "http://accounts:99999",
        "http://accounts:port",
        "http://user:hunter2@accounts",
        "http://accounts\\@evil.example.com",
        "http://accounts/#x",
        "http://accounts/#",
        "http://acc ounts",
        "http://accounts/\n",
        "http://accöunts",
        "http://[::1",
    ],
)
def test_another_text_is_rejected_without_credentials_in_the_message(text: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  (any message)
        HttpUrl.parse(text)

    assert "hunter2" not in str(caught.value)


@given(st.text())
def test_arbitrary_text_raises_only_value_errors(text: str) -> None:
    with suppress(ValueError):
        assert HttpUrl.parse(f"http://{text}").startswith("http://")
