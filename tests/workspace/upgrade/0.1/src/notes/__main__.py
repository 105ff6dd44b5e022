"""Command line of notes."""

from starkeel_server import Service, run

SERVICE = Service(name="notes", settings="notes.settings:Settings", app="notes.app:create_app")

if __name__ == "__main__":
    run(SERVICE)
