"""ASGI application for other servers, and for `litestar --app accounts.asgi:app`."""

from starkeel_server import application

from . import SERVICE

app = application(SERVICE)
