"""The `.env` file of a developer, tested through `load`."""

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


def problems(text: str | bytes) -> list[str]:
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
def test_assignment_syntax(text: str, value: str) -> None:
    assert dotenv(text).a.reveal() == value


def test_an_empty_value_ends_at_the_end_of_its_line() -> None:
    settings = dotenv("B=\nPORT=8080\n")

    assert settings.b is None
    assert settings.port == 8080


FORMS = "; accepted: NAME=VALUE, NAME='VALUE', NAME=\"VALUE\" or a comment"


def test_every_invalid_line_is_reported_by_number_without_its_content() -> None:
    text = "A=1\nhush hush\nPORT='8'x\n=hush\nA=hush\nB='hush"

    found = problems(text)

    assert found == [
        f".env line 2 is not an assignment{FORMS}",
        f".env line 3 gives PORT a value followed by text after its closing quote{FORMS}",
        f".env line 4 is not an assignment{FORMS}",
        ".env line 5 assigns A again, after line 1; accepted: each name once",
        f".env line 6 gives B a value with an unclosed quote{FORMS}",
    ]


def test_line_numbers_account_for_multi_line_values() -> None:
    assert problems("A='1\n2\n3'\nnothing")[0].startswith(".env line 4 ")


@pytest.mark.parametrize("content", [b"A=\xff", b"A=\0", b"#" * 70_000])
def test_an_unreadable_file_is_a_problem(content: bytes) -> None:
    (problem,) = problems(content)

    assert problem.startswith(".env cannot be read: it ")


def test_the_environment_takes_precedence_and_entries_name_the_source(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("PORT=1\nB=2\nENVIRONMENT=production\n")

    resolved = resolve(Service, {"ENVIRONMENT": "development", "B": "3"}, service="orders", dotenv=path)

    found = {entry.variable: (entry.value, entry.source) for entry in resolved.entries}
    assert found["PORT"] == ("1", ".env")
    assert found["B"] == ("3", "environment")
    assert found["ENVIRONMENT"] == ("development", "environment")


def test_an_empty_environment_variable_does_not_override_the_file() -> None:
    assert dotenv("PORT=1", {"PORT": ""}).port == 1


def test_an_environment_variable_overrides_a_file_variable_in_the_env_file() -> None:
    assert dotenv("A_FILE=/missing", {"A": "x"}).a == Secret("x")


def test_the_env_file_may_refer_to_a_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("hushhush\n")

    assert dotenv(f"A_FILE={tmp_path / 'a'}").a == Secret("hushhush")


def test_it_is_not_opened_outside_development(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("not an assignment\nENVIRONMENT=development\nPORT=1")

    for environ in ({}, {"ENVIRONMENT": "production"}):
        assert load(Service, environ, service="orders", dotenv=path).port == 3000


def test_the_default_is_in_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("PORT=4711")
    monkeypatch.chdir(tmp_path)

    assert load(Service, {"ENVIRONMENT": "development"}, service="orders").port == 4711


def test_a_directory_named_env_is_ignored(tmp_path: Path) -> None:
    # `python -m venv .env` creates one.
    (tmp_path / ".env").mkdir()

    assert (
        load(Service, {"ENVIRONMENT": "development"}, service="orders", dotenv=tmp_path / ".env").port == 3000
    )


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"))


@given(TEXT)
def test_any_text_is_accepted_or_rejected_by_line(text: str) -> None:
    places = []
    try:
        dotenv(text)
    except ConfigurationError as error:
        places = [problem.variable for problem in error.problems]

    # A problem is about a line, or about a variable that the file sets.
    assert all(re.fullmatch(r"\.env line [0-9]+|[A-Z][A-Z0-9_]*", where) for where in places)


@given(TEXT.filter(lambda text: text.strip() and "\r" not in text))
def test_any_text_can_be_double_quoted(text: str) -> None:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')

    assert dotenv(f'B=1\nA="{escaped}" # comment\nPORT=2').a == Secret(text)


@given(TEXT.filter(lambda text: text.strip() and "\r" not in text and "'" not in text))
def test_any_text_without_a_single_quote_can_be_single_quoted(text: str) -> None:
    assert dotenv(f"A='{text}'\nPORT=2").a == Secret(text)
