"""Orders and their live events."""

from starkeel_server import Service

SERVICE = Service(name="orders", settings="orders.settings:Settings", app="orders.app:create_app")
