"""Sample service whose jobs, events and schedule the drill executes in several processes."""

from starkeel_server import Service

SERVICE = Service(
    name="work_sample", settings="work_sample.app:SampleSettings", app="work_sample.app:create_app"
)
