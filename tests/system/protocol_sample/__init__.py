"""A service whose routes cover what HTTP requires of a server."""

from starkeel_server import Service

SERVICE = Service(
    name="protocol_sample",
    settings="protocol_sample.settings:SampleSettings",
    app="protocol_sample.app:create_app",
)
