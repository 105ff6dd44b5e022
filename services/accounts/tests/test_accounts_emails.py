"""Parsing of email addresses."""

import pytest
from accounts.emails import EmailAddress
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("text", "written", "key"),
    [
        ("ada@example.com", "ada@example.com", "ada@example.com"),
        ("  Ada.Lovelace@Example.COM ", "Ada.Lovelace@example.com", "ada.lovelace@example.com"),
        ("o'hara+tag@mail.example.co.uk", "o'hara+tag@mail.example.co.uk", "o'hara+tag@mail.example.co.uk"),
        ("ada@bücher.example", "ada@xn--bcher-kva.example", "ada@xn--bcher-kva.example"),
    ],
)
def test_an_address_keeps_its_spelling_and_has_a_key(text: str, written: str, key: str) -> None:
    assert EmailAddress.parse(text) == EmailAddress(written=written, key=key)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "@",
        "ada",
        "ada@",
        "@example.com",
        "ada@localhost",
        "ada@@example.com",
        "a da@example.com",
        ".ada@example.com",
        "ada..l@example.com",
        "ada@example..com",
        "ada@-example.com",
        "ada@exam_ple.com",
        "ada@example.com\x00",
        "ada@exam\nple.com",
        "ada\n@example.com",
        "ädä@example.com",
        f"{'a' * 65}@example.com",
        f"ada@{'a' * 64}.com",
        f"ada@{'a' * 60}.{'b' * 60}.{'c' * 60}.{'d' * 60}.example.com",
        "ada@[127.0.0.1]",
    ],
)
def test_an_invalid_address_is_rejected(text: str) -> None:
    with pytest.raises(ValueError, match=r"address|domain|characters|character"):
        EmailAddress.parse(text)


@given(st.text(max_size=300))
def test_any_text_is_an_address_or_a_value_error(text: str) -> None:
    try:
        address = EmailAddress.parse(text)
    except ValueError:
        return
    assert len(address.written) <= 254
    assert EmailAddress.parse(address.written) == address
    assert EmailAddress.parse(address.written.upper()).key == address.key


@given(st.emails())
def test_parsing_is_idempotent(text: str) -> None:
    try:
        address = EmailAddress.parse(text)
    except ValueError:
        return  # stricter than RFC 5322: one-label domains and the like
    assert EmailAddress.parse(address.written) == address
