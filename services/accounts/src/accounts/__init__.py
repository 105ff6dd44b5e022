"""Users, passwords and access tokens."""

from starkeel_server import Service

SERVICE = Service(name="accounts", settings="accounts.settings:Settings", app="accounts.app:create_app")
