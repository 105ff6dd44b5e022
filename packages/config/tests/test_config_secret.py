import copy
import json
import pickle
import pprint
import traceback

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starkeel_config import Secret

HIDDEN = "correct horse battery staple"


class Holder(msgspec.Struct, frozen=True):
    secret: Secret


def test_reveal_returns_the_text() -> None:
    assert Secret(HIDDEN).reveal() == HIDDEN


@pytest.mark.parametrize(
    "shown",
    [
        repr(Secret(HIDDEN)),
        str(Secret(HIDDEN)),
        f"{Secret(HIDDEN)}",
        f"{Secret(HIDDEN)!r:>60}",
        f"{Secret(HIDDEN):>60}",
        "%s %r" % (Secret(HIDDEN), Secret(HIDDEN)),  # noqa: UP031 - the old operator is what is tested
        "{}".format(Secret(HIDDEN)),  # noqa: UP032 - the method is what is tested
        repr({"key": [Secret(HIDDEN)]}),
        repr(Holder(Secret(HIDDEN))),
        pprint.pformat(Holder(Secret(HIDDEN))),
        json.dumps({"key": Secret(HIDDEN)}, default=str),
        msgspec.json.encode(Holder(Secret(HIDDEN)), enc_hook=str).decode(),
        repr(msgspec.structs.asdict(Holder(Secret(HIDDEN)))),
        repr(msgspec.to_builtins(Holder(Secret(HIDDEN)), enc_hook=str)),
    ],
)
def test_no_formatting_displays_the_text(shown: str) -> None:
    assert HIDDEN not in shown
    assert "***" in shown


@pytest.mark.parametrize(
    "attempt", [vars, json.dumps, msgspec.json.encode, msgspec.msgpack.encode, len, iter]
)
def test_encoders_and_introspection_reject_a_secret(attempt: object) -> None:
    assert callable(attempt)
    with pytest.raises(TypeError) as caught:
        attempt(Secret(HIDDEN))

    assert HIDDEN not in str(caught.value)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickling_a_secret_or_its_container_raises(protocol: int) -> None:
    for value in (Secret(HIDDEN), Holder(Secret(HIDDEN)), [Secret(HIDDEN)]):
        with pytest.raises(TypeError, match="cannot be pickled") as caught:
            pickle.dumps(value, protocol)
        assert HIDDEN not in str(caught.value)


def test_a_secret_has_no_dictionary_and_no_state() -> None:
    assert not hasattr(Secret(HIDDEN), "__dict__")
    with pytest.raises(TypeError, match="does not expose its state"):
        Secret(HIDDEN).__getstate__()


def test_a_traceback_with_locals_does_not_display_a_secret() -> None:
    def fail(secret: Secret) -> None:
        raise RuntimeError(f"failed with {secret}")

    try:
        fail(Secret(HIDDEN))
    except RuntimeError as error:
        text = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())

    assert HIDDEN not in text


def test_a_copy_of_a_secret_is_the_same_object() -> None:
    secret = Secret(HIDDEN)

    assert copy.copy(secret) is secret
    assert copy.deepcopy(Holder(secret)).secret == secret


def test_a_secret_cannot_be_changed() -> None:
    secret = Secret(HIDDEN)

    with pytest.raises(AttributeError):
        secret._text = "other"
    with pytest.raises(AttributeError):
        del secret._text


def test_a_secret_accepts_only_str_and_does_not_display_other_values() -> None:
    with pytest.raises(TypeError, match="not a bytes") as caught:
        Secret(b"hidden")  # type: ignore[arg-type]  # the wrong type is what is tested

    assert "hidden" not in str(caught.value)


@given(st.text(st.characters(codec=None)), st.text(st.characters(codec=None)))
def test_secrets_are_equal_when_their_texts_are(one: str, other: str) -> None:
    assert Secret(one) == Secret(one)
    assert hash(Secret(one)) == hash(Secret(one))
    assert (Secret(one) == Secret(other)) is (one == other)
    assert Secret(one) != one
