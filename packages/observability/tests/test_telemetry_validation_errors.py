"""Exceptions of validation libraries are logged and traced without the value that was validated."""

from collections.abc import Callable
from types import TracebackType
from typing import Literal

import attrs
import msgspec
import pydantic
import pytest
from litestar.serialization import decode_json
from starkeel_observability._logs.record import describe_exception
from starkeel_observability._logs.sanitize import Sanitizer
from starkeel_observability._traces.span import exception_attributes

VALUE = "swordfish"


class Model(msgspec.Struct):
    kind: Literal["plank", "nail"] = "plank"
    name: str = ""

    def __post_init__(self) -> None:
        if self.name:
            raise ValueError(f"not {self.name}")


class PydanticModel(pydantic.BaseModel):
    size: int
    name: str = ""

    @pydantic.field_validator("name")
    @classmethod
    def check(cls, name: str) -> str:
        raise ValueError(f"not\n{name}")


@attrs.define
class AttrsModel:
    kind: str = attrs.field(validator=attrs.validators.in_(["plank"]))


def _chained() -> None:
    try:
        PydanticModel.model_validate({"size": VALUE})
    except ValueError as error:
        raise RuntimeError("the body was not read") from error


def _grouped() -> None:
    failed = []
    for values in ({"size": VALUE}, {"size": 1, "name": VALUE}):
        try:
            PydanticModel.model_validate(values)
        except ValueError as error:
            failed.append(error)
    raise ExceptionGroup("two", [ExceptionGroup("inner", failed)])


FAILURES: dict[str, Callable[[], object]] = {
    "msgspec choice": lambda: msgspec.convert({"kind": VALUE}, Model),
    "msgspec choice at the root": lambda: msgspec.convert(VALUE, Literal["plank"]),
    "msgspec validator": lambda: msgspec.convert({"name": VALUE}, Model),
    "litestar": lambda: decode_json(f'{{"kind": "{VALUE}"}}', Model),
    "pydantic": lambda: PydanticModel.model_validate({"size": VALUE}),
    "pydantic validator": lambda: PydanticModel.model_validate({"size": 1, "name": VALUE}),
    "attrs": lambda: AttrsModel(VALUE),
    "chained": _chained,
    "grouped": _grouped,
}


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
def test_a_validation_error_is_described_without_the_value(failure: Callable[[], object]) -> None:
    kind, error, frames = _raised(failure)

    assert VALUE in str(error) or VALUE in str(error.__cause__) or isinstance(error, ExceptionGroup)
    described = describe_exception((kind, error, frames))
    assert VALUE not in str(described)
    assert "test_telemetry_validation_errors.py" in described["stack"]
    assert VALUE not in str(exception_attributes(error))
    assert VALUE not in Sanitizer().value(error)


def test_a_message_without_the_value_stays() -> None:
    kind, error, frames = _raised(lambda: msgspec.convert({"name": 1}, Model))

    assert describe_exception((kind, error, frames))["message"] == "Expected `str`, got `int` - at `$.name`"


def test_the_kinds_of_errors_stay() -> None:
    kind, error, frames = _raised(FAILURES["pydantic"])

    message = describe_exception((kind, error, frames))["message"]
    assert message == "1 validation errors of PydanticModel: int_parsing"


def _raised(
    failure: Callable[[], object],
) -> tuple[type[BaseException], BaseException, TracebackType | None]:
    with pytest.raises(Exception) as caught:  # noqa: PT011 - each library has its own
        failure()
    return caught.type, caught.value, caught.tb
