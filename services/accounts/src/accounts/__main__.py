"""Command line of accounts: `python -m accounts`, `python -m accounts config`, ..."""

from starkeel_server import run

from . import SERVICE

if __name__ == "__main__":
    run(SERVICE)
