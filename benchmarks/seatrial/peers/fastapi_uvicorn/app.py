"""Items on FastAPI: CORS and tokens as in its documentation, metrics by prometheus-fastapi-instrumentator."""

import asyncio
import os
from typing import Annotated

import jwt
from fastapi import Depends, FastAPI, HTTPException, status
from fastapi.middleware.cors import CORSMiddleware
from fastapi.security import OAuth2PasswordBearer
from prometheus_fastapi_instrumentator import Instrumentator
from pydantic import BaseModel, Field

app = FastAPI()
app.add_middleware(
    CORSMiddleware, allow_origins=[os.environ["ORIGIN"]], allow_methods=["*"], allow_headers=["*"]
)
Instrumentator().instrument(app).expose(app)
oauth2_scheme = OAuth2PasswordBearer(tokenUrl="token")
items: list["Item"] = []


class Item(BaseModel):
    name: str
    quantity: int = Field(ge=1)


def current_user(token: Annotated[str, Depends(oauth2_scheme)]) -> str:
    try:
        claims = jwt.decode(token, os.environ["JWT_SECRET"], algorithms=["HS256"], audience="shop")
    except jwt.InvalidTokenError:
        raise HTTPException(
            status_code=status.HTTP_401_UNAUTHORIZED,
            detail="Could not validate credentials",
            headers={"WWW-Authenticate": "Bearer"},
        ) from None
    return str(claims["sub"])


@app.get("/health")
async def health() -> dict[str, str]:
    return {"status": "ok"}


@app.get("/items")
async def read_items(user: Annotated[str, Depends(current_user)]) -> list[Item]:
    return items


@app.post("/items", status_code=status.HTTP_201_CREATED)
async def create_item(item: Item, user: Annotated[str, Depends(current_user)]) -> Item:
    items.append(item)
    return item


@app.get("/slow")
async def slow() -> str:
    await asyncio.sleep(2)
    return "done"


@app.get("/endless")
async def endless() -> str:
    await asyncio.sleep(3600)
    return "done"


@app.get("/error")
async def error() -> str:
    raise RuntimeError("a fault of the program")
