"""The service as the rows judge it: clients, and what is found by the usual paths."""

import os
import secrets as tokens
import subprocess
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from .._config.model import Config
from .._errors import UsageError
from .._rows.verdict import Undecided
from .client import Client
from .message import Response
from .openapi import Operation, operations

LIVENESS = (
    "/health/live", "/healthz", "/livez", "/health/liveness", "/live", "/actuator/health/liveness",
    "/-/healthy", "/health", "/ping", "/api/health",
)  # fmt: skip
GENERAL = frozenset({"/health", "/ping", "/api/health"})
"""Paths that serve as both probes where there is no other."""
READINESS = (
    "/health/ready", "/readyz", "/health/readiness", "/ready", "/actuator/health/readiness", "/-/ready",
    "/readiness",
)  # fmt: skip
METRICS = ("/metrics", "/actuator/prometheus", "/-/metrics", "/internal/metrics", "/api/metrics")
OPENAPI = (
    "/openapi.json", "/schema/openapi.json", "/api/openapi.json", "/docs/json", "/documentation/json",
    "/swagger.json", "/v3/api-docs", "/api/schema/?format=json",
)  # fmt: skip
_TOKEN_COMMAND_S = 30
_FOUND = range(200, 300)


class Service:
    """A running service.

    Args:
        client: Requests to its public address.
        admin: Requests to a separate address for operators, if there is one.
        config: Configuration.
    """

    def __init__(self, client: Client, admin: Client | None, config: Config) -> None:
        self.client = client
        self.admin = admin
        self.config = config

    @cached_property
    def missing_path(self) -> str:
        """A path that no service has."""
        return f"/seatrial-{tokens.token_hex(6)}"

    @cached_property
    def _missing_status(self) -> int:
        return self.client.get(self.missing_path).status

    @property
    def answers_everything(self) -> bool:
        """Whether a path that no service has succeeds, as with single-page applications."""
        return self._missing_status in _FOUND

    @cached_property
    def liveness(self) -> str | None:
        """Path of the liveness probe."""
        return self.config.paths.liveness or self._probe(LIVENESS)

    @cached_property
    def readiness(self) -> str | None:
        """Path of the readiness probe."""
        return self.config.paths.readiness or self._probe(READINESS)

    def _probe(self, paths: tuple[str, ...]) -> str | None:
        if self.answers_everything:
            return None
        # A protected probe differs from a service that protects unknown paths as well.
        refused = {401, 403} - {self._missing_status}
        for path in paths:
            last, response = self.client.get_following(path)
            if response.status in _FOUND or response.status in {503, *refused}:
                return last
        return None

    @cached_property
    def metrics(self) -> tuple[Client, str] | None:
        """Client and path of the metrics: on the address for operators if there is one."""
        for client in (self.admin, self.client):
            if client is None:
                continue
            for path in (self.config.paths.metrics,) if self.config.paths.metrics else METRICS:
                if is_metrics(client.get(path)):
                    return client, path
        return None

    @cached_property
    def openapi(self) -> tuple[str, Mapping[str, Any]] | None:
        """Path and content of the OpenAPI document."""
        for path in (self.config.paths.openapi,) if self.config.paths.openapi else OPENAPI:
            document = self.client.get(path).json()
            if isinstance(document, dict) and ("openapi" in document or "swagger" in document):
                return path, document
        return None

    @cached_property
    def operations(self) -> tuple[Operation, ...]:
        """Operations of the document without path parameters."""
        return tuple(operations(self.openapi[1])) if self.openapi else ()

    @cached_property
    def token(self) -> str | None:
        """The token that is accepted, or None if none is configured."""
        return self.read_token()

    def read_token(self) -> str | None:
        """Return the configured token, or None.

        Raises:
            UsageError: The file or the command has no token.
        """
        auth = self.config.auth
        if auth.token_file:
            try:
                return Path(auth.token_file).read_text("utf-8").strip()
            except OSError as error:
                raise UsageError(f"auth.token_file: {auth.token_file}: {error.strerror}") from error
        if auth.token_command:
            return _printed(auth.token_command, self.client.address.url)
        return auth.token or None

    @property
    def authorization(self) -> list[tuple[str, str]]:
        """The `Authorization` header, if there is a token."""
        return [("Authorization", f"{self.config.auth.scheme} {self.token}")] if self.token else []

    @cached_property
    def readable_path(self) -> str:
        """Path of a GET request that succeeds: the configured one, a probe, or the root."""
        if self.config.safe_read.path:
            return self.config.safe_read.path
        return self.liveness or self.readiness or "/"

    @cached_property
    def protected_path(self) -> str:
        """Path that needs a token with GET.

        Raises:
            Undecided: None is configured or declared.
        """
        if self.config.auth.protected_path:
            return self.config.auth.protected_path
        for operation in self.operations:
            if operation.method == "GET" and operation.needs_token and not operation.needs_parameters:
                return operation.path
        raise Undecided("No path that needs a token is known: set auth.protected_path in seatrial.toml.")

    def search(self) -> None:
        """Search the usual paths now instead of when a row needs them.

        Raises:
            OSError: The connection failed.
        """
        _ = self.found

    @cached_property
    def found(self) -> dict[str, str]:
        """Results of the search for usual paths, by name."""
        metrics = f"{self.metrics[0].address.url}{self.metrics[1]}" if self.metrics else "not found"
        return {
            "liveness": self.liveness or "not found",
            "readiness": self.readiness or "not found",
            "metrics": metrics,
            "openapi": self.openapi[0] if self.openapi else "not found",
            "token": "configured" if self.token else "not configured",
        }

    @cached_property
    def secrets(self) -> tuple[str, ...]:
        """Values that no report may contain."""
        auth = self.config.auth
        return tuple(filter(None, (self.token, auth.token, auth.expired_token, auth.foreign_token)))


def is_metrics(response: Response) -> bool:
    """Return whether a response is in Prometheus's text format or OpenMetrics."""
    return response.status in _FOUND and (
        response.media_type == "application/openmetrics-text" or "# TYPE " in response.text
    )


def _printed(command: tuple[str, ...], url: str) -> str:
    environment = {**os.environ, "SEATRIAL_URL": url}  # noqa: TID251 - passed on, not read
    try:
        done = subprocess.run(  # noqa: S603 - a command of the user's configuration
            command, capture_output=True, text=True, timeout=_TOKEN_COMMAND_S, check=True, env=environment
        )
    except (OSError, subprocess.SubprocessError) as error:
        # The text of the error may quote the command, which may contain a password.
        raise UsageError(f"auth.token_command: {command[0]} failed ({type(error).__name__})") from None
    if not done.stdout.strip():
        raise UsageError(f"auth.token_command: {command[0]} printed no token")
    return done.stdout.strip()
