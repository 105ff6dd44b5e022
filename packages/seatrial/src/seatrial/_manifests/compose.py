"""Compose files as a typed model.

Source: https://github.com/compose-spec/compose-spec/blob/main/spec.md
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from .._static.fields import Fields
from .documents import ManifestError

_VARIABLE: Final = re.compile(
    r"\$(?:(?P<escaped>\$)|(?P<plain>[A-Za-z_]\w*)|\{(?P<name>[A-Za-z_]\w*)(?P<operator>:?[-?+])?(?P<value>[^{}]*)\})"
)
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(h|ms|us|m|s)")
_SECONDS: Final = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001, "us": 0.000001}


@dataclass(frozen=True, slots=True)
class PublishedPort:
    """A port of a container that the host listens on.

    Attributes:
        host: Address; empty for all interfaces.
    """

    host: str
    text: str

    @property
    def is_loopback(self) -> bool:
        """Whether only the machine itself can connect."""
        return self.host.startswith("127.") or self.host in {"localhost", "::1", "[::1]"}


@dataclass(frozen=True, slots=True)
class Service:
    """A service of a compose file.

    Attributes:
        needs: Services that start before, with the condition that is waited for.
        command: The command line as one string.
        environment: Variables and build arguments as written, with `${NAME:-default}` not replaced.
        fields: Its part of the file.
    """

    name: str
    image: str
    is_built: bool
    needs: dict[str, str]
    command: str
    environment: dict[str, str]
    ports: tuple[PublishedPort, ...]
    has_healthcheck: bool
    stop_grace_s: float | None
    fields: Fields


class Stack:
    """All services of the compose files.

    Args:
        documents: Documents of any kind; those without `services` are ignored.

    Raises:
        ManifestError: A file refers to others, which Compose must merge.
    """

    def __init__(self, documents: Iterable[Fields]) -> None:
        self.services: dict[str, Service] = {}
        for document in documents:
            if "services" not in document or "apiVersion" in document:
                continue
            _refuse_references(document)
            services = document.fields("services")
            for name in services:
                self.services[name] = _service(name, services.fields(name))

    def __bool__(self) -> bool:
        """Return whether there is any service."""
        return bool(self.services)

    def is_needed(self, name: str) -> bool:
        """Return whether another service depends on a service."""
        return any(name in each.needs for each in self.services.values())

    def runs_once(self, name: str) -> bool:
        """Return whether a service ends by itself: others wait for its completion."""
        return any(
            each.needs.get(name) == "service_completed_successfully" for each in self.services.values()
        )


def interpolated(text: str) -> str:
    """Replace variables by their defaults; one without a default is replaced by an empty string."""

    def value(match: re.Match[str]) -> str:
        if match["escaped"]:
            return "$"
        return match["value"] if (match["operator"] or "").endswith("-") else ""

    previous = None
    # Defaults can contain variables; the innermost ones are replaced first.
    while previous != text and "${" in text:
        previous, text = (
            text,
            _VARIABLE.sub(lambda match: match[0] if match["escaped"] else value(match), text),
        )
    return _VARIABLE.sub(value, text)


def seconds(text: str) -> float | None:
    """Return the seconds of a duration such as `1m30s`, or `None`."""
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return None
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)


def _refuse_references(document: Fields) -> None:
    services = document.fields("services")
    references = [name for name in services if "extends" in services.fields(name)]
    if "include" in document or references:
        raise ManifestError(
            f"{document.where} uses `{'include' if 'include' in document else 'extends'}`; "
            "merge the files first: docker compose config | seatrial manifests -"
        )


def _service(name: str, fields: Fields) -> Service:
    health = fields.fields("healthcheck")
    grace = interpolated(fields.text("stop_grace_period"))
    return Service(
        name,
        fields.text("image"),
        "build" in fields,
        _needs(fields),
        _command(fields),
        _pairs(fields, "environment") | _build_arguments(fields),
        tuple(_port(each, fields) for each in fields.items("ports")),
        "test" in health and not health.boolean("disable") and health.raw("test") not in ("NONE", ["NONE"]),
        seconds(grace) if grace else None,
        fields,
    )


def _needs(fields: Fields) -> dict[str, str]:
    if isinstance(fields.raw("depends_on"), list):
        return dict.fromkeys(fields.texts("depends_on"), "service_started")
    needed = fields.fields("depends_on")
    return {name: needed.fields(name).text("condition", "service_started") for name in needed}


def _command(fields: Fields) -> str:
    parts = (
        " ".join(fields.texts(key)) if isinstance(fields.raw(key), list) else fields.text(key)
        for key in ("entrypoint", "command")
    )
    return " ".join(parts)


def _build_arguments(fields: Fields) -> dict[str, str]:
    return _pairs(fields.fields("build"), "args") if isinstance(fields.raw("build"), dict) else {}


def _pairs(fields: Fields, key: str) -> dict[str, str]:
    if isinstance(fields.raw(key), list):
        pairs = (each.partition("=") for each in fields.texts(key))
        return {name: value for name, _, value in pairs}
    return fields.mapping(key)


def _port(value: object, fields: Fields) -> PublishedPort:
    if isinstance(value, dict):
        port = Fields(value, f"{fields.where}.ports")
        host = interpolated(port.text("host_ip"))
        return PublishedPort(host, f"{host}:{port.text('published')}:{port.text('target')}".lstrip(":"))
    text = interpolated(str(value))
    # `HOST:PUBLISHED:CONTAINER/PROTOCOL`; an address of IPv6 is in brackets.
    published = text.partition("/")[0].rpartition(":")[0]
    return PublishedPort(published.rpartition(":")[0], text)
