from starkeel_server import Service, run

SERVICE = Service(name="bench", settings="starkeel.app:Settings", app="starkeel.app:create_app")

if __name__ == "__main__":
    run(SERVICE)
