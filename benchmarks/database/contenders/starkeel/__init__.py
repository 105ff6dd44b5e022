"""The handlers on the whole chassis with a database."""

from starkeel_server import Service

SERVICE = Service(name="bench", settings="starkeel.app:Settings", app="starkeel.app:create_app")
