"""Runs it as every service is run."""

from starkeel_server import Service, run

SERVICE = Service(name="shop", settings="shop.app:Settings", app="shop.app:create_app")

if __name__ == "__main__":
    run(SERVICE)
