"""Command line of orders: `python -m orders`, `python -m orders config`, ..."""

from starkeel_server import run

from . import SERVICE

if __name__ == "__main__":
    run(SERVICE)
