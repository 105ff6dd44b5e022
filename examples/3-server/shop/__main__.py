"""The entry point: `python -m shop`."""

from starkeel_server import Service, run

if __name__ == "__main__":
    run(Service(name="shop", settings="shop.settings:Settings", app="shop.app:create_app"))
