from starkeel_server import Service, run

SERVICE = Service(
    name="http_sample", settings="http_sample.settings:SampleSettings", app="http_sample.app:create_app"
)

if __name__ == "__main__":
    run(SERVICE)
