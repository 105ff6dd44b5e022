"""Command line of accounts: `python -m accounts`, `python -m accounts config`, ..."""

from starkeel_server import Service, run

SERVICE = Service(name="accounts", settings="accounts.settings:Settings", app="accounts.app:create_app")

if __name__ == "__main__":
    run(SERVICE)
