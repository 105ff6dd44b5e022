"""Litestar plugin for events between services."""

import asyncio
from argparse import ArgumentParser, Namespace
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, TextIO, TypeVar, final
from urllib.parse import urlsplit

import msgspec
from litestar import Litestar
from litestar.config.app import AppConfig
from litestar.di import Provide
from litestar.exceptions import ImproperlyConfiguredException
from litestar.plugins import InitPlugin
from sqlalchemy.ext.asyncio import AsyncSession
from starkeel_config import Secret
from starkeel_db import DatabasePlugin, OutboxPlugin, database_of
from starkeel_jobs import JobsPlugin

from ._brokers.base import BrokerClient
from ._events import EventHandler, EventType
from ._metrics import consumer_metrics
from ._publisher import Publisher
from ._reader import Reader
from ._replay import Replay
from ._settings import MessagingSettings, scheme_of
from ._tables import Topics, topics_table

_MAX_DATA_BYTES: Final = 800_000
_STOP_S: Final = 2.0
"""Seconds for receiving what has been read, where there is no grace period."""

T = TypeVar("T")
P = TypeVar("P")


@final
class MessagingPlugin(InitPlugin):
    """Publishes the events of a service to a broker and handles those of others; the dependency `messaging`.

    Publishing needs an `OutboxPlugin`, handling a `JobsPlugin`, both in the application's plugins. The
    service's migrations must create the table `outbox_broker` if it publishes, `event_topics` if it handles.

    Args:
        settings: The broker.
        service: Name of the service, which is its topic.
        publishes: Types of the events that it publishes.
        handlers: Functions that handle events.

    Raises:
        ValueError: Two types have the same name.
    """

    command_name = "events"
    command_help = "list the topics that the service receives, and replay events"

    _database: DatabasePlugin
    _outbox: OutboxPlugin | None = None
    _replay: Replay | None = None

    def __init__(
        self,
        settings: MessagingSettings,
        *,
        service: str,
        publishes: Sequence[EventType[Any]] = (),
        handlers: Sequence[EventHandler[Any]] = (),
    ) -> None:
        self._settings = settings
        self._service = service
        self.publishes: Mapping[str, EventType[Any]] = {each.name: each for each in publishes}
        if len(self.publishes) < len(publishes):
            raise ValueError("two types of published events have the same name")
        self._handlers = handlers
        self._topics = list(dict.fromkeys(handler.topic for handler in handlers))
        self._is_work_enabled = True
        self._client = _client(settings)
        self._readers: list[Reader] = []
        self._reading: list[asyncio.Task[None]] = []

    def on_app_init(self, app_config: AppConfig) -> AppConfig:
        """Add the table, the dependency and the background tasks, and connect outbox and jobs.

        Raises:
            ImproperlyConfiguredException: A plugin that is needed is missing.
        """
        self._database = database_of(app_config)
        if self.publishes:
            self._outbox = _plugin(app_config, OutboxPlugin, "publish events")
            client = self._client
            self._outbox.publish_to(None if client is None else Publisher(client, self._service))
        if self._handlers:
            jobs = _plugin(app_config, JobsPlugin, "handle events")
            for handler in self._handlers:
                jobs.register(handler.job)
            is_postgres = self._database.settings.target.dialect == "postgresql"
            topics = Topics(topics_table(self._database.metadata), is_postgres=is_postgres)
            self._create_readers(jobs, topics)
            self._replay = Replay(
                self._handlers, client=self._client, database=self._database, topics=topics, jobs=jobs
            )
        app_config.dependencies.setdefault("messaging", Provide(lambda: self, sync_to_thread=False))
        app_config.signature_types.append(MessagingPlugin)
        # Entered before the lifespan of the outbox, whose relay uses the connections, and left after it.
        app_config.lifespan.insert(0, self._lifespan)
        app_config.lifespan.append(self._receiving)
        return app_config

    async def publish(self, session: AsyncSession, event_type: EventType[T], data: T, *, key: str) -> None:
        """Publish an event in a unit of work: it is sent after the commit, and never after a rollback.

        Args:
            session: Session of the unit of work.
            event_type: One of the types that the plugin publishes.
            data: The event's data.
            key: Ordering key, such as the id of the changed object, with at most 64 characters: events with
                the same key are received in order.

        Raises:
            LookupError: The plugin does not publish this type.
            ValueError: The data has more than 800,000 bytes as JSON.
            UnitOfWorkIsOverError: The response has started.
        """
        if self._outbox is None or self.publishes.get(event_type.name) is not event_type:
            raise LookupError(f"{event_type.name!r} is not in `publishes` of the MessagingPlugin")
        payload = msgspec.json.encode(data).decode()
        if len(payload.encode()) > _MAX_DATA_BYTES:
            raise ValueError(f"the data of {event_type.name!r} is larger than {_MAX_DATA_BYTES} bytes")
        await self._outbox.add(session, key=key, kind=event_type.name, payload=payload)

    def enable_work(self, is_enabled: bool) -> None:
        """Receive events in this process, or only publish; called before the start."""
        self._is_work_enabled = is_enabled

    async def drain(self, remaining_s: Callable[[], float]) -> None:
        """Receive no more events; those that are handled are jobs, which finish by themselves.

        Args:
            remaining_s: Returns the seconds that are left of the grace period.
        """
        for reader in self._readers:
            reader.stop()
        if self._reading:
            await asyncio.wait(self._reading, timeout=remaining_s())

    def features(self) -> Iterable[tuple[str, bool, str]]:
        """Yield the features for the start log: name, whether it is on, and the reason."""
        is_on = self._client is not None
        if self.publishes:
            yield "publishing events", is_on, f"BROKER_URL is {'set' if is_on else 'not set'}"
        if self._handlers:
            reason = "BROKER_URL is not set" if not is_on else "RUN_WORKER is false"
            if is_on and self._is_work_enabled:
                reason = f"of {', '.join(self._topics)}"
            yield "receiving events", is_on and self._is_work_enabled, reason

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the arguments of the command `events`."""
        from . import _commands

        _commands.add_arguments(parser)

    async def run_command(self, options: Namespace, stdout: TextIO) -> int:
        """Run the command `events`; return the exit code."""
        from . import _commands

        return await _commands.run(self._replay, options, stdout)

    def asyncapi(self) -> Mapping[str, Any]:
        """Return channels, operations and components of the service's AsyncAPI document."""
        from ._asyncapi import document_of

        return document_of(self._service, list(self.publishes.values()), self._handlers)

    def _create_readers(self, jobs: JobsPlugin, topics: Topics) -> None:
        for topic in self._topics if self._client is not None else ():
            assert self._client is not None
            self._readers.append(
                Reader(
                    topic,
                    [handler for handler in self._handlers if handler.topic == topic],
                    client=self._client,
                    database=self._database,
                    topics=topics,
                    jobs=jobs,
                    lease_s=self._settings.lease_s,
                )
            )

    @asynccontextmanager
    async def _lifespan(self, _: Litestar) -> AsyncGenerator[None]:
        if self._client is None:
            yield
            return
        async with self._client.running():
            yield

    @asynccontextmanager
    async def _receiving(self, _: Litestar) -> AsyncGenerator[None]:
        if not self._is_work_enabled or not self._readers:
            yield
            return
        consumer_metrics().expect(self._topics)

        async with asyncio.TaskGroup() as tasks:
            self._reading = [tasks.create_task(reader.run()) for reader in self._readers]
            try:
                yield
            finally:
                # The grace period is over, or there was none under another server.
                await self.drain(lambda: _STOP_S)
                for reading in self._reading:
                    reading.cancel()


def _client(settings: MessagingSettings) -> BrokerClient | None:
    url = settings.broker_url
    if url is None:
        return None
    scheme = scheme_of(url)
    if scheme in {"redis", "rediss"}:
        # Imported where it is used: a client takes a tenth of the start.
        from ._brokers.redis_streams import RedisStreams

        return RedisStreams(url, kept_events=settings.kept_events, kept_s=settings.kept_hours * 3600)
    if scheme in {"nats", "tls"}:
        try:
            from ._brokers.nats_streams import NatsStreams
        except ModuleNotFoundError as error:
            raise ImproperlyConfiguredException(
                "BROKER_URL is that of NATS, whose client is missing: install `starkeel-messaging[nats]`"
            ) from error
        return NatsStreams(
            url,
            credentials=settings.broker_credentials,
            kept_events=settings.kept_events,
            kept_s=settings.kept_hours * 3600,
        )
    if scheme == "sqlite":
        from ._brokers.sqlite_log import SqliteLog

        return SqliteLog(_path(url), kept_events=settings.kept_events, kept_s=settings.kept_hours * 3600)
    raise ValueError(f"BROKER_URL has the scheme {scheme!r}, which is not supported")


def _path(url: Secret) -> Path:
    # As in SQLAlchemy: three slashes begin a relative path, four an absolute one.
    return Path(urlsplit(url.reveal()).path.removeprefix("/"))


def _plugin(app_config: AppConfig, kind: type[P], purpose: str) -> P:
    for plugin in app_config.plugins:
        if isinstance(plugin, kind):
            return plugin
    raise ImproperlyConfiguredException(
        f"the MessagingPlugin needs a {kind.__name__} in the application's plugins to {purpose}"
    )
