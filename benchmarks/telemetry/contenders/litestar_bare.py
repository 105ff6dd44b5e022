"""The handler on Litestar without any plugin."""

from litestar import Litestar, get
from litestar.params import FromPath


@get("/items/{item_id:int}")
async def item(item_id: FromPath[int]) -> dict[str, int]:
    return {"id": item_id}


app = Litestar([item], openapi_config=None)
