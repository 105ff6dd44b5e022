"""Crates of each user."""

from starkeel_server import Service

SERVICE = Service(name="depot", settings="depot.settings:Settings", app="depot.app:create_app")
