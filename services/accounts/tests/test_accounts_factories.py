"""What the factories make is valid: a test that names one value may rely on the others."""

from typing import Any

import msgspec
import pytest
from accounts import messages
from accounts.emails import EmailAddress
from accounts.passwords import accept
from accounts.users import User
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

REQUESTS = ["sign_up", "credentials", "password_change", "deactivation"]


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_is_as_described(make: Any, body: Any, name: str) -> None:
    for request in getattr(make, name).batch(20):
        assert msgspec.convert(body(request), type(request)) == request


def test_there_is_one_for_every_request(make: Any) -> None:
    requests = {
        kind
        for kind in vars(messages).values()
        if isinstance(kind, type)
        and issubclass(kind, msgspec.Struct)
        and kind.__struct_config__.forbid_unknown_fields
    }

    assert {getattr(make, name).__model__ for name in REQUESTS} == requests


def test_somebody_who_signs_up_is_accepted(make: Any) -> None:
    for request in make.sign_up.batch(20):
        address = EmailAddress.parse(request.email)
        assert accept(request.password, email_local_part=address.key.partition("@")[0])


def test_users_can_be_kept_beside_each_other(make: Any) -> None:
    engine = create_engine("sqlite://")
    User.__table__.create(engine)  # type: ignore[attr-defined]  # a Table, which has it
    with Session(engine) as session:
        session.add_all(make.user.batch(20))
        session.flush()
        kept = session.query(User).all()
        assert len(kept) == 20
        assert all(EmailAddress.parse(user.email).key == user.email_key for user in kept)
    engine.dispose()
