"""The factories create valid objects, so a test passes only the values that matter."""

from typing import Any

import msgspec
import pytest
from accounts import schemas
from accounts.emails import EmailAddress
from accounts.passwords import PasswordPolicy
from accounts.users import User
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

REQUESTS = [
    "address_given",
    "credentials",
    "deactivation",
    "password_change",
    "password_reset",
    "refresh",
    "sign_out",
    "sign_up",
    "token_given",
]


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_is_valid(make: Any, body: Any, name: str) -> None:
    for request in getattr(make, name).batch(20):
        assert msgspec.convert(body(request), type(request)) == request


def test_every_request_has_a_factory(make: Any) -> None:
    requests = {
        kind
        for kind in vars(schemas).values()
        if isinstance(kind, type)
        and issubclass(kind, msgspec.Struct)
        and kind.__struct_config__.forbid_unknown_fields
    }

    assert {getattr(make, name).__model__ for name in REQUESTS} == requests


def test_a_registration_is_valid(make: Any) -> None:
    for request in make.sign_up.batch(20):
        address = EmailAddress.parse(request.email)
        assert PasswordPolicy().validate(request.password, address.key)


def test_users_can_be_stored_together(make: Any) -> None:
    engine = create_engine("sqlite://")
    User.__table__.create(engine)  # type: ignore[attr-defined]  # a Table, which has it
    with Session(engine) as session:
        session.add_all(make.user.batch(20))
        session.flush()
        stored = session.query(User).all()
        assert len(stored) == 20
        assert all(EmailAddress.parse(user.email).key == user.email_key for user in stored)
    engine.dispose()
