"""The handlers on Litestar with nothing of Starkeel but its database."""

import os

from litestar import Litestar
from notes import Base
from starkeel.app import read, write
from starkeel_config import Secret
from starkeel_db import DatabasePlugin, DatabaseSettings

settings = DatabaseSettings(url=Secret(os.environ["BENCH_DATABASE_URL"]))
database = DatabasePlugin(settings, metadata=Base.metadata, migrations="starkeel.migrations")
app = Litestar([read, write], openapi_config=None, plugins=[database])
