"""The `.env` file of a developer, seen through `load`."""

import re
import tempfile
from pathlib import Path
from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starkeel_config import ConfigurationError, Secret, ServiceSettings, Variable, load, resolve


class Service(ServiceSettings, frozen=True, kw_only=True):
    a: Annotated[Secret, Variable("A", service_default="none given")]
    b: Annotated[str | None, Variable("B")] = None
    port: Annotated[int, Variable("PORT")] = 3000


def dotenv(text: str | bytes, environ: dict[str, str] | None = None) -> Service:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, ".env")
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return load(Service, {"ENVIRONMENT": "development", **(environ or {})}, service="orders", dotenv=path)


def complaints(text: str | bytes) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        dotenv(text)
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("A=x", "x"),
        ("A = x  ", "x"),
        ("\n# comment\n  # another\nexport A=x\n", "x"),
        ("A=x # comment", "x"),
        ("A=x#y", "x#y"),
        ("A=x y\r\nPORT=1\r\n", "x y"),
        ("A='x # y'  # comment", "x # y"),
        ("A='\\n'", "\\n"),
        ('A="x\\ny\\t\\"q\\" \\\\ \\$ \\d"', 'x\ny\t"q" \\ $ \\d'),
        ("A='-----BEGIN-----\nabc\n-----END-----'\nPORT=1", "-----BEGIN-----\nabc\n-----END-----"),
        ("A=$HOME", "$HOME"),
        ("A=a=b", "a=b"),
        ("A=", "none given"),
        ("A= # comment", "none given"),
        ("A=''", "none given"),
        ("\ufeffA=x", "x"),
        ("A=x'y", "x'y"),
    ],
)
def test_a_line_gives_a_value(text: str, value: str) -> None:
    assert dotenv(text).a.reveal() == value


def test_the_line_after_an_empty_value_is_not_swallowed() -> None:
    settings = dotenv("B=\nPORT=8080\n")

    assert settings.b is None
    assert settings.port == 8080


FORMS = "; accepted: NAME=VALUE, NAME='VALUE', NAME=\"VALUE\" or a comment"


def test_every_wrong_line_is_named_and_none_is_shown() -> None:
    text = "A=1\nhush hush\nPORT='8'x\n=hush\nA=hush\nB='hush"

    told = complaints(text)

    assert told == [
        f".env line 2 is no assignment{FORMS}",
        f".env line 3 gives PORT a value with something after its closing quote{FORMS}",
        f".env line 4 is no assignment{FORMS}",
        ".env line 5 gives A again, which line 1 gave; accepted: each name once",
        f".env line 6 gives B a value with a quote that is not closed{FORMS}",
    ]


def test_lines_are_counted_through_values_of_several() -> None:
    assert complaints("A='1\n2\n3'\nnothing")[0].startswith(".env line 4 ")


@pytest.mark.parametrize("content", [b"A=\xff", b"A=\0", b"#" * 70_000])
def test_a_file_that_cannot_be_taken_is_told(content: bytes) -> None:
    (told,) = complaints(content)

    assert told.startswith(".env cannot be read: it ")


def test_the_environment_wins_and_the_source_is_told(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("PORT=1\nB=2\nENVIRONMENT=production\n")

    resolved = resolve(Service, {"ENVIRONMENT": "development", "B": "3"}, service="orders", dotenv=path)

    told = {entry.variable: (entry.value, entry.source) for entry in resolved.entries}
    assert told["PORT"] == ("1", ".env")
    assert told["B"] == ("3", "environment")
    assert told["ENVIRONMENT"] == ("development", "environment")


def test_an_empty_variable_of_the_environment_leaves_the_file_its_say() -> None:
    assert dotenv("PORT=1", {"PORT": ""}).port == 1


def test_a_variable_of_the_environment_wins_over_the_files_other_form() -> None:
    assert dotenv("A_FILE=/missing", {"A": "x"}).a == Secret("x")


def test_a_file_may_name_a_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("hushhush\n")

    assert dotenv(f"A_FILE={tmp_path / 'a'}").a == Secret("hushhush")


def test_it_is_not_even_opened_outside_development(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("not an assignment\nENVIRONMENT=development\nPORT=1")

    for environ in ({}, {"ENVIRONMENT": "production"}):
        assert load(Service, environ, service="orders", dotenv=path).port == 3000


def test_the_one_in_the_working_directory_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("PORT=4711")
    monkeypatch.chdir(tmp_path)

    assert load(Service, {"ENVIRONMENT": "development"}, service="orders").port == 4711


def test_a_folder_of_that_name_is_somebody_elses(tmp_path: Path) -> None:
    # `python -m venv .env` makes one.
    (tmp_path / ".env").mkdir()

    assert (
        load(Service, {"ENVIRONMENT": "development"}, service="orders", dotenv=tmp_path / ".env").port == 3000
    )


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"))


@given(TEXT)
def test_any_text_is_either_taken_or_refused_by_line(text: str) -> None:
    refusals = []
    try:
        dotenv(text)
    except ConfigurationError as error:
        refusals = [problem.variable for problem in error.problems]

    # Of a line, or of one of the variables that it sets.
    assert all(re.fullmatch(r"\.env line [0-9]+|[A-Z][A-Z0-9_]*", where) for where in refusals)


@given(TEXT.filter(lambda text: text.strip() and "\r" not in text))
def test_every_text_can_be_written_in_double_quotes(text: str) -> None:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')

    assert dotenv(f'B=1\nA="{escaped}" # comment\nPORT=2').a == Secret(text)


@given(TEXT.filter(lambda text: text.strip() and "\r" not in text and "'" not in text))
def test_every_text_without_a_single_quote_can_be_written_in_them(text: str) -> None:
    assert dotenv(f"A='{text}'\nPORT=2").a == Secret(text)
