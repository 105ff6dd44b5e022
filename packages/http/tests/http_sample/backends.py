"""An ordinary application, whose bodies and parameters are declared with every kind of model."""

from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any, Literal
from uuid import UUID

import attrs
import msgspec
import pydantic
from litestar import Litestar, Request, get, post
from litestar.dto import DataclassDTO, DTOConfig, MsgspecDTO
from litestar.enums import RequestEncodingType
from litestar.exceptions import ValidationException
from litestar.params import Body, CookieParameter, FromPath, FromQuery, HeaderParameter, QueryParameter
from litestar.plugins.attrs import AttrsSchemaPlugin
from litestar.plugins.pydantic import PydanticDTO
from litestar.serialization import decode_json
from msgspec import Meta
from pydantic_core import PydanticCustomError
from starkeel_http import HttpPlugin, HttpSettings
from typing_extensions import TypedDict

Kind = Literal["plank", "nail"]
NAME_FORMAT = "lower-case letters, digits and `-`, starting with a letter other than `h`"


class Colour(Enum):
    RED = "red"


class MsgspecModel(msgspec.Struct):
    name: Annotated[
        str, Meta(pattern="^([a-gi-z][a-z0-9-]*)?$", max_length=30, description=f"{NAME_FORMAT}.")
    ]
    size: int
    kind: Kind = "plank"
    colour: Colour = Colour.RED
    key: UUID | None = None

    def __post_init__(self) -> None:
        _check(self.name)


@dataclass
class DataclassModel:
    name: str
    size: int
    kind: Kind = "plank"

    def __post_init__(self) -> None:
        _check(self.name)


class TypedDictModel(TypedDict):
    name: str
    size: int
    kind: Kind


@attrs.define
class AttrsModel:
    name: str = attrs.field(validator=attrs.validators.matches_re("[a-z]*"))
    size: int = attrs.field(validator=[attrs.validators.instance_of(int), attrs.validators.le(100)])
    kind: Kind = attrs.field(default="plank", validator=attrs.validators.in_(["plank", "nail"]))


class Part(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")
    code: Annotated[str, pydantic.Field(max_length=4)]


class PydanticModel(pydantic.BaseModel):
    name: Annotated[str, pydantic.Field(pattern="^([a-gi-z][a-z0-9-]*)?$")]
    size: int
    kind: Kind = "plank"
    colour: Colour = Colour.RED
    parts: list[Part] = []
    prices: dict[str, int] = {}

    @pydantic.field_validator("name")
    @classmethod
    def _check_name(cls, name: str) -> str:
        _check(name)
        return name

    @pydantic.field_validator("size", mode="before")
    @classmethod
    def _check_size(cls, size: Any) -> Any:
        assert size != "hunter2", f"the size must not be {size}"
        return size

    @pydantic.model_validator(mode="after")
    def _check_all(self) -> "PydanticModel":
        if self.size == 13:
            raise PydanticCustomError("thirteen", "unlucky {name}", {"name": self.colour.value})
        return self


def _check(name: str) -> None:
    if name.startswith("refused"):
        raise ValueError(f"the name must not be {name!r}, as in {{'password': {name!r}}}")
    if name == "public":
        raise ValidationException("is reserved")


@post("/msgspec")
async def msgspec_body(data: MsgspecModel) -> None:
    del data


@post("/msgspec-dto", dto=MsgspecDTO[MsgspecModel], return_dto=None)
async def msgspec_dto(data: MsgspecModel) -> None:
    del data


@post("/msgspec-list")
async def msgspec_list(data: list[MsgspecModel]) -> None:
    del data


@post("/dataclass")
async def dataclass_body(data: DataclassModel) -> None:
    del data


class StrictDataclassDTO(DataclassDTO[DataclassModel]):
    config = DTOConfig(forbid_unknown_fields=True)


@post("/dataclass-dto", dto=StrictDataclassDTO, return_dto=None)
async def dataclass_dto(data: DataclassModel) -> None:
    del data


@post("/typed-dict")
async def typed_dict_body(data: TypedDictModel) -> None:
    del data


@post("/attrs")
async def attrs_body(data: AttrsModel) -> None:
    del data


@post("/pydantic")
async def pydantic_body(data: PydanticModel) -> None:
    del data


@post("/pydantic-dto", dto=PydanticDTO[PydanticModel], return_dto=None)
async def pydantic_dto(data: PydanticModel) -> None:
    del data


@post("/pydantic-list")
async def pydantic_list(data: list[PydanticModel]) -> None:
    del data


@post("/form")
async def form(
    data: Annotated[MsgspecModel, Body(media_type=RequestEncodingType.URL_ENCODED)],
) -> None:
    del data


@post("/pydantic-form")
async def pydantic_form(
    data: Annotated[PydanticModel, Body(media_type=RequestEncodingType.URL_ENCODED)],
) -> None:
    del data


@post("/multipart")
async def multipart(
    data: Annotated[MsgspecModel, Body(media_type=RequestEncodingType.MULTI_PART)],
) -> None:
    del data


@post("/msgpack")
async def msgpack(data: Annotated[MsgspecModel, Body(media_type=RequestEncodingType.MESSAGEPACK)]) -> None:
    del data


@post("/in-handler/{how:str}")
async def in_handler(how: FromPath[str], request: Request[Any, Any, Any]) -> None:
    body = await request.body()
    if how == "msgspec":
        msgspec.json.decode(body, type=MsgspecModel)
    elif how == "convert":
        msgspec.convert(msgspec.json.decode(body), MsgspecModel)
    elif how == "pydantic":
        PydanticModel.model_validate_json(body)
    elif how == "litestar":
        decode_json(body, MsgspecModel)
    elif how == "chained":
        try:
            PydanticModel.model_validate_json(body)
        except ValueError as error:
            raise RuntimeError("the body was not read") from error
    elif how == "attrs":
        values = msgspec.json.decode(body)
        AttrsModel(**{name: values[name] for name in ("name", "size", "kind") if name in values})


@get("/parameters/{number:int}")
async def parameters(
    number: FromPath[int],
    kind: Kind = "plank",
    colour: Colour = Colour.RED,
    key: UUID | None = None,
    sizes: list[int] | None = None,
    pattern: Annotated[str, QueryParameter(pattern="^[a-z]*$", description="lower-case letters")] = "",
    tag: Annotated[Colour, HeaderParameter(name="X-Tag")] = Colour.RED,
    seen: Annotated[Kind, CookieParameter(name="seen")] = "plank",
) -> None:
    del number, kind, colour, key, sizes, pattern, tag, seen


@get("/required")
async def required(token: FromQuery[str]) -> None:
    del token


def _app(*, debug: bool) -> Litestar:
    handlers = [
        msgspec_body,
        msgspec_dto,
        msgspec_list,
        dataclass_body,
        dataclass_dto,
        typed_dict_body,
        attrs_body,
        pydantic_body,
        pydantic_dto,
        pydantic_list,
        form,
        pydantic_form,
        multipart,
        msgpack,
        in_handler,
        parameters,
        required,
    ]
    return Litestar(handlers, plugins=[HttpPlugin(HttpSettings()), AttrsSchemaPlugin()], debug=debug)


app = _app(debug=False)
debug_app = _app(debug=True)
