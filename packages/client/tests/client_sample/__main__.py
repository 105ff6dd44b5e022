from starkeel_server import Service, run

SERVICE = Service(
    name="client_sample", settings="client_sample.app:SampleSettings", app="client_sample.app:create_app"
)

if __name__ == "__main__":
    run(SERVICE)
