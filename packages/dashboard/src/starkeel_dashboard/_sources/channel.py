"""Messages between the dashboard and the program that runs the services, as lines of JSON.

The program writes to the dashboard's standard input and reads commands from its standard output. The end of
the input ends the dashboard.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import Final, TypeAlias

import msgspec

from .._decode.log_line import read_line
from .._store.records import LogRecord
from .._store.store import Store
from .services import Action, Address, Services

_MAX_LINE_BYTES: Final = 4 * 1024 * 1024


class ServiceMessage(msgspec.Struct, tag_field="type", tag="service", frozen=True, kw_only=True):
    """A service, or a change of its address."""

    address: Address
    is_controlled: bool = True


class ProcessMessage(msgspec.Struct, tag_field="type", tag="process", frozen=True, kw_only=True):
    """The process of a service has started, or ended with a code."""

    service: str
    pid: int | None = None
    exit_code: int | None = None


class LogMessage(msgspec.Struct, tag_field="type", tag="log", frozen=True, kw_only=True):
    """A line of output of a service."""

    service: str
    line: str


class SignUpMessage(msgspec.Struct, tag_field="type", tag="sign_up", frozen=True, kw_only=True):
    """Endpoints that issue a token to a development user."""

    service: str
    sign_up_path: str
    token_path: str


class Command(msgspec.Struct, frozen=True):
    """A command to the program that runs the services."""

    action: Action
    service: str


Message: TypeAlias = ServiceMessage | ProcessMessage | LogMessage | SignUpMessage
_decoder: Final[msgspec.json.Decoder[Message]] = msgspec.json.Decoder(Message)


class Channel:
    """The messages of standard input and output.

    Args:
        services: Services that the messages change.
        store: Where log lines are kept.
    """

    def __init__(self, services: Services, store: Store) -> None:
        self._services = services
        self._store = store
        self.sign_up: SignUpMessage | None = None
        """Endpoints that issue a token; `None` if there are none."""
        self.invalid = 0
        """Lines that were no message."""

    async def run(self) -> None:
        """Read messages until the input ends."""
        async for line in _lines():
            try:
                message = _decoder.decode(line)
            except msgspec.DecodeError:
                self.invalid += 1
                continue
            self._receive(message)

    def _receive(self, message: Message) -> None:
        match message:
            case LogMessage():
                record: LogRecord = read_line(message.line, message.service)
                self._store.add_logs([record], 1)
            case ServiceMessage():
                self._services.add(message.address, is_controlled=message.is_controlled)
            case ProcessMessage():
                service = self._services.get(message.service)
                if service is not None:
                    service.pid, service.exit_code = message.pid, message.exit_code
                    service.readiness = "starting"
            case SignUpMessage():
                self.sign_up = message
        self._store.changes.notify()

    def send(self, command: Command) -> None:
        """Write a command to standard output."""
        sys.stdout.write(f"{msgspec.json.encode(command).decode()}\n")
        sys.stdout.flush()


async def _lines() -> AsyncIterator[bytes]:
    reader = asyncio.StreamReader(limit=_MAX_LINE_BYTES)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    try:
        while True:
            try:
                line = await reader.readline()
            except ValueError:
                continue  # longer than the limit: discarded by the reader
            if not line:
                return
            yield line
    finally:
        transport.close()
