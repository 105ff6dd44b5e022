from starkeel_server import run

from . import SERVICE

if __name__ == "__main__":
    run(SERVICE)
