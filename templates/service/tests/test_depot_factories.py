"""The factories create valid objects, so a test passes only the values that matter."""

from typing import Any

import msgspec
import pytest
from depot.crates import Crate
from sqlalchemy import create_engine
from sqlalchemy.orm import Session


@pytest.mark.parametrize(
    "name",
    [
        "creation",
        # template if database
        "change",
        "view",
        # template end
    ],
)
def test_an_object_is_valid(make: Any, name: str) -> None:
    for made in getattr(make, name).batch(20):
        assert msgspec.json.decode(msgspec.json.encode(made), type=type(made)) == made


# template if database
def test_crates_can_be_stored(make: Any) -> None:
    engine = create_engine("sqlite://")
    Crate.__table__.create(engine)  # type: ignore[attr-defined]  # a Table, which has it
    with Session(engine) as session:
        session.add_all(make.row.batch(20))
        session.flush()
        assert session.query(Crate).count() == 20
    engine.dispose()


# template end
