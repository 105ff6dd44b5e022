"""Password rules and hashing."""

import anyio
import anyio.lowlevel
import pytest
from accounts.passwords import (
    DUMMY_HASH,
    PasswordHashing,
    WeakPasswordError,
    common_passwords,
    validate_password,
)
from argon2 import PasswordHasher, extract_parameters


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
        validate_password(password, "ada.lovelace@example.com")

    assert password not in str(caught.value)


@pytest.mark.parametrize("password", ["eight ch", "x1" * 64, "пароль от сундука", "🐎🔋📎🐎🔋📎🐎🔋"])
def test_a_strong_password_is_accepted(password: str) -> None:
    assert validate_password(password, "ada@example.com")


def test_length_is_counted_after_normalisation() -> None:
    assert validate_password("e\u0301a\u0301" * 4, "ada@example.com") == "\u00e9\u00e1" * 4
    with pytest.raises(WeakPasswordError, match="8 to 128"):
        validate_password("e\u0301" * 4, "ada@example.com")


def test_the_list_of_common_passwords_is_usable() -> None:
    assert len(common_passwords()) > 500
    assert all(len(word) >= 8 and word == word.casefold() for word in common_passwords())


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
