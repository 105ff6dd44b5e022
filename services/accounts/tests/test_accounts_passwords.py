"""Which passwords are accepted, and how they are kept."""

import anyio
import anyio.lowlevel
import pytest
from accounts.passwords import NOBODYS_HASH, Passwords, WeakPasswordError, accept, common_passwords
from argon2 import PasswordHasher, extract_parameters


@pytest.mark.parametrize(
    "password",
    [
        "short77",
        "x" * 129,
        "password",
        "PassWord123",
        "qwertyuiop",
        "".join(chr(ord(letter) + 0xFEE0) for letter in "password"),  # full-width letters, the same keys
        "aaaaaaaaaaaa",
        "Ada.Lovelace",
    ],
)
def test_a_weak_password_is_refused_without_being_repeated(password: str) -> None:
    with pytest.raises(WeakPasswordError) as caught:
        accept(password, email_local_part="ada.lovelace")

    assert password not in str(caught.value)


@pytest.mark.parametrize("password", ["eight ch", "x1" * 64, "пароль от сундука", "🐎🔋📎🐎🔋📎🐎🔋"])
def test_a_good_password_is_accepted(password: str) -> None:
    assert accept(password, email_local_part="ada")


def test_length_is_counted_after_normalisation() -> None:
    assert accept("e\u0301a\u0301" * 4, email_local_part="ada") == "\u00e9\u00e1" * 4
    with pytest.raises(WeakPasswordError, match="8 to 128"):
        accept("e\u0301" * 4, email_local_part="ada")


def test_common_passwords_are_a_list_worth_having() -> None:
    assert len(common_passwords()) > 500
    assert all(len(word) >= 8 and word == word.casefold() for word in common_passwords())


async def test_the_same_keys_open_however_they_were_composed() -> None:
    passwords = Passwords()
    encoded = await passwords.hash("caf\u00e9 au lait")

    assert (await passwords.verify("cafe\u0301 au lait", encoded)).is_right
    assert not (await passwords.verify("cafe au lait", encoded)).is_right


async def test_nobody_has_no_right_password() -> None:
    verdict = await Passwords().verify("whatever it is", None)

    assert not verdict.is_right


async def test_nobodys_hash_costs_what_every_other_costs() -> None:
    assert extract_parameters(NOBODYS_HASH) == extract_parameters(await Passwords().hash("whatever it is"))


async def test_a_hash_with_other_parameters_is_right_and_due_for_another() -> None:
    passwords = Passwords()
    old = PasswordHasher(time_cost=1, memory_cost=8 * 1024, parallelism=1).hash("a wagon full of clocks")

    assert (await passwords.verify("a wagon full of clocks", old)).needs_rehash
    new = await passwords.hash("a wagon full of clocks")
    assert new.startswith("$argon2id$")
    assert not (await passwords.verify("a wagon full of clocks", new)).needs_rehash


async def test_a_hash_that_is_none_is_never_right() -> None:
    assert not (await Passwords().verify("a wagon full of clocks", "not a hash")).is_right


async def test_hashing_leaves_the_event_loop_free() -> None:
    passwords = Passwords()
    turns = 0
    is_over = anyio.Event()

    async def hash_and_tell() -> None:
        await passwords.hash("a wagon full of clocks")
        is_over.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(hash_and_tell)
        while not is_over.is_set():
            turns += 1
            await anyio.lowlevel.checkpoint()

    # On the loop itself there would be two: one before the hash, one after.
    assert turns > 10
