"""Declarations: prefixed groups, variable names, variables declared twice."""

from typing import Annotated, Any

import msgspec
import pytest
from starkeel_config import DeclarationError, Entry, Secret, Settings, Variable, load, prefixed, resolve

from .sample import Database, Port, Server, Service, Upstream, problems_of


def test_a_constructor_without_a_prefixed_group_raises() -> None:
    with pytest.raises(TypeError, match="ACCOUNTS"):
        Service(server=Server(name="x"), database=Database(url=Secret("x")))


def test_a_development_default_for_an_undeclared_variable_is_a_declaration_error() -> None:
    class Mistaken(Settings, frozen=True, kw_only=True):
        accounts: Upstream = prefixed("ACCOUNTS", development={"URI": "http://x"})

    with pytest.raises(DeclarationError, match="URI"):
        load(Mistaken, {}, service="orders")


def test_credentials_in_reported_problems_are_masked() -> None:
    (problem,) = problems_of({"URL": "ftp://me:hushhush@accounts"}, Upstream)

    assert problem.wrong == "is 'ftp://***@accounts'"


def test_prefixes_are_concatenated() -> None:
    class Inner(Settings, frozen=True, kw_only=True):
        upstream: Upstream = prefixed("B")

    class Outer(Settings, frozen=True, kw_only=True):
        inner: Inner = prefixed("A")

    assert load(Outer, {"A_B_URL": "http://x"}, service="orders").inner.upstream.url == "http://x"


def test_a_group_may_be_used_with_several_prefixes() -> None:
    class Two(Settings, frozen=True, kw_only=True):
        one: Upstream = prefixed("ONE")
        other: Upstream = prefixed("OTHER")

    settings = load(Two, {"ONE_URL": "http://1", "OTHER_URL": "http://2"}, service="orders")

    assert (settings.one.url, settings.other.url) == ("http://1", "http://2")


def test_a_field_without_a_variable_is_a_declaration_error() -> None:
    class Nameless(Settings, frozen=True, kw_only=True):
        port: int = 1

    with pytest.raises(DeclarationError, match=r"Nameless\.port must name exactly one variable"):
        load(Nameless, {}, service="orders")


def test_an_invalid_variable_name_is_a_declaration_error() -> None:
    class Misnamed(Settings, frozen=True, kw_only=True):
        port: Annotated[int, Variable("port-number")] = 1

    with pytest.raises(DeclarationError, match=r"Misnamed\.port: 'port-number'"):
        load(Misnamed, {}, service="orders")


class Workers(Settings, frozen=True, kw_only=True):
    workers: Annotated[Port, Variable("WORKERS")] = 1


def test_a_variable_with_two_equal_declarations_is_read_once() -> None:
    class Again(Settings, frozen=True, kw_only=True):
        processes: Annotated[Port, Variable("WORKERS")] = 1

    class Both(Settings, frozen=True, kw_only=True):
        workers: Workers
        again: Again

    resolved = resolve(Both, {"WORKERS": "3"}, service="orders")

    assert (resolved.settings.workers.workers, resolved.settings.again.processes) == (3, 3)
    assert resolved.entries == (Entry("WORKERS", "3", "environment"),)
    assert len(problems_of({"WORKERS": "x"}, Both)) == 1


@pytest.mark.parametrize(
    ("hint", "default"),
    [
        (Annotated[Port, Variable("WORKERS")], 2),
        (Annotated[int, Variable("WORKERS")], 1),
        (Annotated[str, Variable("WORKERS")], 1),
        (Annotated[Port, Variable("WORKERS", development="2")], 1),
        (Annotated[Port, Variable("WORKERS", service_default="1")], 1),
    ],
)
def test_a_variable_with_two_different_declarations_is_a_declaration_error(hint: Any, default: int) -> None:
    options: Any = {"bases": (Settings,), "frozen": True, "kw_only": True}
    other = msgspec.defstruct("Other", [("workers", hint, default)], **options)
    both: Any = msgspec.defstruct("Both", [("one", Workers), ("other", other)], **options)

    with pytest.raises(
        DeclarationError, match=r"WORKERS is declared twice.*Workers\.workers.*Other\.workers"
    ):
        load(both, {}, service="orders")
