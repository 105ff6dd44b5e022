"""ASGI application for other servers, and for `litestar --app orders.asgi:app`."""

from starkeel_server import application

from .__main__ import SERVICE

app = application(SERVICE)
