"""Parsing of values and the messages about invalid ones."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta
from starkeel_config import ConfigurationError, DeclarationError, Problem, Secret, Settings, Variable, load


class Pace:
    """A type with its own parser."""

    accepts = "a pace such as 3/second"

    def __init__(self, count: int) -> None:
        self.count = count

    @classmethod
    def parse(cls, text: str) -> Self:
        count, slash, unit = text.partition("/")
        if not slash or unit != "second":
            raise ValueError("the unit is missing")
        return cls(int(count))


def read(hint: Any, text: str) -> Any:
    """Load a class with a single field of the given type."""
    struct: Any = msgspec.defstruct(
        "One", [("x", Annotated[hint, Variable("X")])], bases=(Settings,), frozen=True, kw_only=True
    )
    return load(struct, {"X": text}, service="orders").x


def refusal(hint: Any, text: str) -> Problem:
    with pytest.raises(ConfigurationError) as caught:
        read(hint, text)
    (problem,) = caught.value.problems
    return problem


@pytest.mark.parametrize(
    ("hint", "text", "value"),
    [
        (str, " orders ", "orders"),
        (str, "with space inside", "with space inside"),
        (int, "42", 42),
        (int, " -42\n", -42),
        (int, "+007", 7),
        (float, "0.5", 0.5),
        (float, " .5", 0.5),
        (float, "5.", 5.0),
        (float, "1e3", 1000.0),
        (float, "30", 30.0),
        (Path, "/run/cert.pem", Path("/run/cert.pem")),
        (Literal["json", "pretty"], "pretty", "pretty"),
        (Literal["json", "pretty"], " JSON ", "json"),
        (Literal[1, 2], "2", 2),
        (int | None, "3", 3),
        (tuple[str, ...], "a, b ,c", ("a", "b", "c")),
        (tuple[str, ...], "a,,b,", ("a", "b")),
        (tuple[int, ...], "1,2", (1, 2)),
        (tuple[int, ...] | None, ",", ()),
        (Annotated[int, Meta(ge=1)] | None, "1", 1),
        (Annotated[Annotated[int, Meta(ge=1)], Meta(ge=3, le=5)], "3", 3),
        (Annotated[tuple[int, ...], Meta(min_length=2)], "1,2", (1, 2)),
    ],
)
def test_text_is_parsed_to_the_type(hint: Any, text: str, value: object) -> None:
    found = read(hint, text)

    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("word", ["true", "TRUE", "1", "yes", "Yes", "on", " On "])
def test_words_for_true(word: str) -> None:
    assert read(bool, word) is True


@pytest.mark.parametrize("word", ["false", "False", "0", "no", "NO", "off"])
def test_words_for_false(word: str) -> None:
    assert read(bool, word) is False


def test_a_custom_type_is_parsed_by_its_parse_method() -> None:
    assert read(Pace, " 3/second ").count == 3
    assert [pace.count for pace in read(tuple[Pace, ...], "1/second, 2/second")] == [1, 2]


def test_a_secret_is_not_trimmed() -> None:
    assert read(Secret, " a b ").reveal() == " a b "


@pytest.mark.parametrize(
    ("hint", "text", "wrong", "accepted"),
    [
        (int, "abc", "is 'abc'", "a whole number"),
        (int, "1_000", "is '1_000'", "a whole number"),
        (int, "1.0", "is '1.0'", "a whole number"),
        (int, "٣", "is '٣'", "a whole number"),
        (int, "9" * 30, f"is '{'9' * 30}'", "a whole number"),
        (Annotated[int, Meta(ge=1, le=65535)], "65536", "is '65536'", "a whole number from 1 to 65535"),
        (Annotated[int, Meta(ge=1)], "0", "is '0'", "a whole number of at least 1"),
        (Annotated[int, Meta(le=9)], "10", "is '10'", "a whole number of at most 9"),
        (Annotated[int, Meta(multiple_of=4)], "6", "is '6'", "a whole number divisible by 4"),
        (Annotated[float, Meta(gt=0, le=60)], "0", "is '0'", "a number greater than 0 and at most 60"),
        (Annotated[float, Meta(ge=0, lt=1)], "1", "is '1'", "a number of at least 0 and less than 1"),
        (Annotated[float, Meta(ge=0, le=0.5)], "1", "is '1'", "a number from 0 to 0.5"),
        (Annotated[float, Meta(gt=0)], "inf", "is 'inf'", "a number greater than 0"),
        (float, "nan", "is 'nan'", "a number"),
        (float, "1e999", "is '1e999'", "a number"),
        (float, "1_0", "is '1_0'", "a number"),
        (bool, "ja", "is 'ja'", "true or false (also 1/0, yes/no, on/off)"),
        (Literal["json", "pretty"], "xml", "is 'xml'", "json or pretty"),
        (Literal["a", "b", "c"], "d", "is 'd'", "a, b or c"),
        (Annotated[str, Meta(max_length=3)], "four", "is 'four'", "text of at most 3 characters"),
        (Annotated[str, Meta(min_length=2)], "a", "is 'a'", "text of at least 2 characters"),
        (Annotated[str, Meta(min_length=2, max_length=3)], "a", "is 'a'", "text of 2 to 3 characters"),
        (Annotated[str, Meta(pattern="^a+$")], "b", "is 'b'", "text matching ^a+$"),
        (Annotated[str, Meta(pattern="^a+$", description="some a")], "b", "is 'b'", "some a"),
        (str, "a\nb", r"is 'a\nb': contains a control character", "text"),
        (Path, "a\tb", r"is 'a\tb': contains a control character", "a path"),
        (str, "\udc80", "is not UTF-8", "text"),
        (Pace, "3", "is '3': the unit is missing", "a pace such as 3/second"),
        (
            tuple[Pace, ...],
            "1/second,x",
            "is '1/second,x': 'x': the unit is missing",
            "a comma-separated list, each a pace such as 3/second",
        ),
        (
            tuple[int, ...],
            "1,x",
            "is '1,x': 'x' is not accepted",
            "a comma-separated list, each a whole number",
        ),
        (
            Annotated[tuple[int, ...], Meta(max_length=1)],
            "1,2",
            "is '1,2'",
            "a comma-separated list, each a whole number, at most 1 items",
        ),
        (
            Annotated[Secret, Meta(min_length=9)],
            "hushhush",
            "has an invalid value",
            "text (secret) of at least 9 characters",
        ),
        (
            Annotated[tuple[Annotated[Secret, Meta(min_length=9)], ...], Meta()],
            "hushhush",
            "has an invalid value",
            "a comma-separated list, each text (secret) of at least 9 characters",
        ),
    ],
)
def test_problems_describe_the_error_and_accepted_values(
    hint: Any, text: str, wrong: str, accepted: str
) -> None:
    assert refusal(hint, text) == Problem("X", wrong, accepted)


def test_a_long_value_is_truncated() -> None:
    wrong = refusal(int, "x" * 5000).wrong

    assert "xxx" in wrong
    assert len(wrong) < 200


def test_credentials_in_a_url_are_masked() -> None:
    wrong = refusal(Literal["a"], "https://me:hushhush@example.com/path").wrong

    assert wrong == "is 'https://***@example.com/path'"


@given(st.integers(-(10**17), 10**17))
def test_integers_round_trip(number: int) -> None:
    assert read(int, str(number)) == number


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_finite_floats_round_trip(number: float) -> None:
    assert read(float, repr(number)) == number


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Zl", "Zp"])))
def test_accepted_numbers_equal_those_of_python(text: str) -> None:
    for hint in (int, float):
        try:
            value = read(hint, text)
        except ConfigurationError:
            continue
        assert value == hint(text)


ITEM = st.text(st.characters(codec="utf-8", exclude_characters=",", exclude_categories=["Cc", "Zl", "Zp"]))


@given(st.lists(ITEM, min_size=1).filter(lambda items: any(item.strip() for item in items)))
def test_list_items_are_trimmed_and_empty_ones_dropped(items: list[str]) -> None:
    expected = tuple(item.strip() for item in items if item.strip())

    assert read(tuple[str, ...], ",".join(items)) == expected


@pytest.mark.parametrize(
    "hint",
    [
        Annotated[int, Meta(min_length=1)],
        Annotated[Secret, Meta(ge=1)],
        Annotated[tuple[int, ...], Meta(ge=1)],
        Annotated[Path, Meta(min_length=1)],
        Annotated[Pace, Meta(ge=1)],
        Annotated[Literal["a"], Meta(min_length=1)],
    ],
)
def test_a_bound_that_does_not_apply_to_the_type_is_a_declaration_error(hint: Any) -> None:
    with pytest.raises(DeclarationError, match=r"One\.x"):
        read(hint, "1")


@pytest.mark.parametrize(
    "hint", [dict[str, str], list[str], tuple[int, int], bytes, object, int | str | None]
)
def test_an_unsupported_type_is_a_declaration_error(hint: Any) -> None:
    with pytest.raises(DeclarationError, match=r"One\.x"):
        read(hint, "1")
