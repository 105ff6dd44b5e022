"""Password rules and hashing."""

from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
from accounts.common_passwords import CommonPasswords
from accounts.passwords import (
    DUMMY_HASH,
    PasswordHashing,
    PasswordPolicy,
    WeakPasswordError,
)
from argon2 import PasswordHasher, extract_parameters
from hypothesis import given
from hypothesis import strategies as st

NAMES = ("accounts", "api.shipyard.example")


@pytest.mark.parametrize(
    "password",
    [
        "short77",
        "x" * 129,
        "password",
        "PassWord123",
        "qwertyuiop",
        "".join(
            chr(ord(letter) + 0xFEE0) for letter in "password"
        ),  # full-width letters, equal after normalisation
        "aaaaaaaaaaaa",
        "Ada.Lovelace",
    ],
)
def test_a_weak_password_is_rejected_and_not_in_the_message(password: str) -> None:
    with pytest.raises(WeakPasswordError) as caught:
        PasswordPolicy(NAMES).validate(password, "ada.lovelace@example.com")

    assert password not in str(caught.value)


@pytest.mark.parametrize("password", ["eight ch", "x1" * 64, "пароль от сундука", "🐎🔋📎🐎🔋📎🐎🔋"])
def test_a_strong_password_is_accepted(password: str) -> None:
    assert PasswordPolicy(NAMES).validate(password, "ada@example.com")


def test_length_is_counted_after_normalisation() -> None:
    assert PasswordPolicy(NAMES).validate("e\u0301a\u0301" * 4, "ada@example.com") == "\u00e9\u00e1" * 4
    with pytest.raises(WeakPasswordError, match="8 to 128"):
        PasswordPolicy(NAMES).validate("e\u0301" * 4, "ada@example.com")


@pytest.mark.parametrize(
    "password",
    [
        "lovelace1815",
        "!!Lovelace!!",
        "ada.lovelace@clockworks.example",
        "Ada.Lovelace",
        "clockworks",
        "Clockworks2026!",
        "shipyard99",
        "api.shipyard.example",
    ],
)
def test_words_of_the_context_are_rejected(password: str) -> None:
    with pytest.raises(WeakPasswordError, match=r"part of it|name of this service"):
        PasswordPolicy(NAMES).validate(password, "ada.lovelace@clockworks.example")


@pytest.mark.parametrize("password", ["lovelace and the engine", "my shipyard 99", "a clockworks"])
def test_a_longer_text_with_a_word_of_the_context_is_accepted(password: str) -> None:
    assert PasswordPolicy(NAMES).validate(password, "ada.lovelace@clockworks.example")


def test_initials_among_digits_and_punctuation_are_accepted() -> None:
    assert PasswordPolicy(NAMES).validate("7!a9#20?4", "m.a.ada@clockworks.example")


def test_a_hundred_thousand_common_passwords_are_rejected() -> None:
    common = CommonPasswords.load()

    assert len(common) > 100_000
    service = Path(__file__).parents[1]
    assert f"{len(common):,} common passwords" in (service / "README.md").read_text("utf-8")
    further = (service.parents[1] / "tools" / "common_passwords.txt").read_text("utf-8").splitlines()
    assert all(word in common for word in further if not word.startswith("#"))
    assert all(word in common for word in ("password", "1qaz2wsx", "iloveyou123", "qwertyuiop", "summer2026"))
    others = sum(f"{number:x} {number * 7919:x}" in common for number in range(100_000))
    # One of 22,000 is expected; a set without any selectivity would have all.
    assert others < 50


@given(st.lists(st.text(), max_size=50), st.text())
def test_a_set_contains_its_members(members: list[str], other: str) -> None:
    common = CommonPasswords(CommonPasswords.build(members))

    assert all(member in common for member in members)
    assert len(common) <= len(set(members))
    assert (other in common) == (other in members)


async def test_composed_and_decomposed_characters_are_equal() -> None:
    hashing = PasswordHashing()
    encoded = await hashing.hash("caf\u00e9 au lait")

    assert await hashing.verify("cafe\u0301 au lait", encoded)
    assert not await hashing.verify("cafe au lait", encoded)


async def test_no_password_is_valid_for_an_unknown_user() -> None:
    assert not await PasswordHashing().verify("any password", None)


async def test_the_dummy_hash_has_the_current_parameters() -> None:
    assert extract_parameters(DUMMY_HASH) == extract_parameters(await PasswordHashing().hash("any password"))


async def test_a_hash_with_other_parameters_is_valid_and_needs_a_rehash() -> None:
    hashing = PasswordHashing()
    old = PasswordHasher(time_cost=1, memory_cost=8 * 1024, parallelism=1).hash("a wagon full of clocks")

    assert await hashing.verify("a wagon full of clocks", old)
    assert hashing.needs_rehash(old)
    new = await hashing.hash("a wagon full of clocks")
    assert new.startswith("$argon2id$")
    assert not hashing.needs_rehash(new)


async def test_an_invalid_hash_is_never_valid() -> None:
    assert not await PasswordHashing().verify("a wagon full of clocks", "not a hash")


async def test_hashing_does_not_block_the_event_loop() -> None:
    hashing = PasswordHashing()
    iterations = 0
    is_done = anyio.Event()

    async def hash_password() -> None:
        await hashing.hash("a wagon full of clocks")
        is_done.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(hash_password)
        while not is_done.is_set():
            iterations += 1
            await anyio.lowlevel.checkpoint()

    # On the event loop there would be two: one before the hash, one after.
    assert iterations > 10
