"""Sample service that raises the exceptions of the libraries, run as a process by the tests."""

from starkeel_server import Service

SERVICE = Service(
    name="error_sample", settings="error_sample.app:SampleSettings", app="error_sample.app:create_app"
)
