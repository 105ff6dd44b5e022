"""Command line of orders: `python -m orders`, `python -m orders config`, ..."""

from starkeel_server import Service, run

SERVICE = Service(name="orders", settings="orders.settings:Settings", app="orders.app:create_app")

if __name__ == "__main__":
    run(SERVICE)
