"""ASGI application for other servers, and for `litestar --app depot.asgi:app`."""

from starkeel_server import application

from . import SERVICE

app = application(SERVICE)
