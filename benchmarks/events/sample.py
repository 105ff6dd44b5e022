"""An application that publishes or handles events whose times are measured."""

from datetime import timedelta

import msgspec
from litestar import Litestar
from sqlalchemy import MetaData
from starkeel_config import Secret
from starkeel_db import DatabasePlugin, DatabaseSettings, OutboxPlugin
from starkeel_jobs import JobSettings, JobsPlugin
from starkeel_messaging import EventHandler, EventType, MessagingPlugin, MessagingSettings


class Made(msgspec.Struct):
    """The data of an event."""

    number: int


MADE = EventType("thing.made", Made)


class Sample:
    """An application with its plugins.

    Args:
        url: Its database.
        broker: Its broker.
        handlers: Functions that handle events; without one it publishes them.
    """

    def __init__(self, url: str, broker: str, *handlers: EventHandler[Made]) -> None:
        metadata = MetaData()
        settings = DatabaseSettings(url=Secret(url), max_connections=20)
        self.database = DatabasePlugin(settings, metadata=metadata, migrations="none")
        self.messaging = MessagingPlugin(
            MessagingSettings(broker_url=Secret(broker)),
            service="consumer" if handlers else "publisher",
            publishes=[] if handlers else [MADE],
            handlers=handlers,
        )
        work = JobsPlugin(JobSettings(concurrency=20), jobs=[])
        outbox = OutboxPlugin(retention=timedelta(hours=1))
        self.app = Litestar([], plugins=[self.database, work, outbox, self.messaging])
        self.metadata = metadata

    async def create_tables(self) -> None:
        """Create the tables, before the application starts."""
        async with Litestar([], plugins=[self.database]).lifespan(), self.database.session() as session:
            await (await session.connection()).run_sync(self.metadata.create_all)
