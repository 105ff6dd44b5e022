"""Settings of the server."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar

from msgspec import Meta
from starkeel_config import Environment, Problem, ServiceSettings, Settings, Variable

from .exit_codes import StartError

Port = Annotated[int, Meta(ge=0, le=65_535)]
Seconds = Annotated[float, Meta(ge=0, le=3600)]
HeadSeconds = Annotated[float, Meta(ge=0.1, le=75)]
BodySeconds = Annotated[float, Meta(gt=0, le=3600)]
StallSeconds = Annotated[float, Meta(ge=0.1, le=60)]
MIB = 1024 * 1024

RESTART_ONLY = {
    name: name.lower()
    for name in ("HOST", "PORT", "METRICS_HOST", "METRICS_PORT", "WORKERS", "LOG_LEVEL_CHANGES")
}
"""Fields by variable that need a restart to change."""
TLS_FILES = {name: name.lower() for name in ("TLS_CERT_FILE", "TLS_KEY_FILE", "TLS_CLIENT_CA_FILE")}
"""Fields with the path of a file by variable."""


class ServerSettings(Settings, frozen=True, kw_only=True):
    """Ports, workers, TLS and shutdown."""

    plugin: ClassVar[str | None] = "starkeel_server:ServerPlugin"

    host: Annotated[str, Variable("HOST"), Meta(min_length=1)] = "0.0.0.0"
    """Address the application listens on; `::` for IPv6 and IPv4."""

    port: Annotated[Port, Variable("PORT")] = 3000
    """Port of the application; 0 for any free port, which is logged in the `listening` line."""

    metrics_host: Annotated[str, Variable("METRICS_HOST"), Meta(min_length=1)] = "0.0.0.0"
    """Address of the admin port: `/metrics`, `/live`, `/ready` and, for clients on the same machine only, the
    operator endpoints such as `/config`."""

    metrics_port: Annotated[Port, Variable("METRICS_PORT")] = 9090
    """Admin port; 0 for any free port."""

    log_level_changes: Annotated[bool, Variable("LOG_LEVEL_CHANGES")] = False
    """Whether clients on the same machine may change log levels at run time, with `PUT /loggers` on the admin
    port."""

    workers: Annotated[int, Variable("WORKERS"), Meta(ge=1, le=64)] = 1
    """Number of worker processes; the usual way to scale is more replicas."""

    run_worker: Annotated[bool, Variable("RUN_WORKER")] = True
    """Whether the processes that serve requests also do other work, such as jobs; those of the command
    `worker` always do."""

    drain_delay_s: Annotated[Seconds, Variable("DRAIN_DELAY_SECONDS", development="0")] = 5.0
    """Seconds the service keeps serving after a stop signal while it reports not ready: the time a load
    balancer needs to remove it."""

    shutdown_grace_s: Annotated[Seconds, Variable("SHUTDOWN_GRACE_SECONDS", development="2")] = 20.0
    """Seconds requests in flight have to finish after the service stops accepting; then they are answered
    503."""

    shutdown_flush_s: Annotated[Seconds, Variable("SHUTDOWN_FLUSH_SECONDS", development="1")] = 3.0
    """Seconds for closing connections and flushing telemetry, the last step of a shutdown."""

    head_read_timeout_s: Annotated[HeadSeconds, Variable("HEAD_READ_TIMEOUT_SECONDS")] = 10.0
    """Seconds from the start of a connection to the end of its first request's head, and from the first byte
    of a later head to its end; then the connection is closed. Between requests it may be idle for 75."""

    body_read_timeout_s: Annotated[BodySeconds, Variable("BODY_READ_TIMEOUT_SECONDS")] = 20.0
    """Seconds a request may wait for its whole body; then it is answered 408."""

    write_timeout_s: Annotated[float, Variable("WRITE_TIMEOUT_SECONDS"), Meta(ge=0.1, le=3600)] = 30.0
    """Seconds that a client may leave sent data unread or unacknowledged; then its connection is closed."""

    max_connections_per_address: Annotated[
        int, Variable("MAX_CONNECTIONS_PER_ADDRESS"), Meta(ge=1, le=65_536)
    ] = 512
    """Maximum number of connections of one client address to one worker, and at most half of those that it
    accepts; the longest idle ones beyond are closed. Trusted proxies are exempt."""

    max_connections: Annotated[int, Variable("MAX_CONNECTIONS_PER_WORKER"), Meta(ge=64, le=65_536)] = 8192
    """Maximum number of connections of one worker, and fewer where the limit of open files is low; half of
    them may be event streams and WebSockets."""

    max_websocket_message_bytes: Annotated[
        int, Variable("MAX_WEBSOCKET_MESSAGE_BYTES"), Meta(ge=1024, le=67_108_864)
    ] = MIB
    """Maximum size of a WebSocket message from a client; a larger one closes the WebSocket, with 1009."""

    loop_stall_s: Annotated[StallSeconds, Variable("LOOP_STALL_SECONDS")] = 1.0
    """Seconds a worker's event loop may be blocked before the blocking stack is logged."""

    worker_max_rss_bytes: Annotated[int | None, Variable("WORKER_MAX_RSS_BYTES"), Meta(ge=MIB, le=MIB**2)] = (
        None
    )
    """Bytes of resident memory above which a worker is replaced and drained; unset: no limit."""

    tls_cert_file: Annotated[Path | None, Variable("TLS_CERT_FILE")] = None
    """Path of the certificate chain, PEM; if set, the application port uses TLS 1.2 or 1.3."""

    tls_key_file: Annotated[Path | None, Variable("TLS_KEY_FILE")] = None
    """Path of the private key, PKCS#8 PEM without a passphrase."""

    tls_client_ca_file: Annotated[Path | None, Variable("TLS_CLIENT_CA_FILE")] = None
    """Path of the certificate authorities for client certificates, PEM; if set, clients must present one."""

    @property
    def uses_tls(self) -> bool:
        """Whether the application port uses TLS."""
        return self.tls_cert_file is not None

    def tls_files(self) -> list[tuple[str, Path]]:
        """Return the variables of TLS files that are set, with their paths."""
        paths = ((variable, getattr(self, field)) for variable, field in TLS_FILES.items())
        return [(variable, path) for variable, path in paths if path is not None]

    def problems(self, environment: Environment) -> Iterator[Problem]:
        """Reject equal ports and incomplete or invalid TLS files."""
        del environment
        cert, key, authorities = self.tls_cert_file, self.tls_key_file, self.tls_client_ca_file
        if self.port and self.port == self.metrics_port:
            yield Problem("METRICS_PORT", f"is {self.port}, the same as PORT", "another port")
        if cert is not None and key is None:
            yield Problem("TLS_KEY_FILE", "is not set, but TLS_CERT_FILE is", "a path")
        for variable, _ in self.tls_files() if cert is None else ():
            yield Problem("TLS_CERT_FILE", f"is not set, but {variable} is", "a path")
        unreadable = list(self._unreadable())
        yield from unreadable
        if not unreadable and cert is not None and key is not None and not _is_pair(cert, key):
            yield Problem(
                "TLS_KEY_FILE",
                f"is '{key}', which does not match TLS_CERT_FILE '{cert}'",
                "the certificate's key in PKCS#8 PEM without a passphrase",
            )
        if (
            authorities is not None
            and authorities.is_file()
            and not _accepts(lambda context: context.load_verify_locations(authorities))
        ):
            wrong = f"is '{authorities}', which contains no certificate"
            yield Problem("TLS_CLIENT_CA_FILE", wrong, "certificates in PEM")

    def _unreadable(self) -> Iterator[Problem]:
        for variable, path in self.tls_files():
            try:
                path.read_bytes()
            except OSError as error:
                why = (error.strerror or "cannot be read").lower()
                yield Problem(variable, f"is '{path}': {why}", "the path of a readable file")


def server_settings(settings: ServiceSettings) -> ServerSettings:
    """Return the section of a service's settings that configures the server.

    Raises:
        StartError: There is none.
    """
    for field in settings.__struct_fields__:
        section = getattr(settings, field)
        if isinstance(section, ServerSettings):
            return section
    raise StartError(f"{type(settings).__name__} has no field of type ServerSettings")


def _is_pair(cert: Path, key: Path) -> bool:
    # Without a passphrase argument OpenSSL would prompt on the terminal for one.
    is_accepted = _accepts(lambda context: context.load_cert_chain(cert, key, password=""))
    return is_accepted and b"-----BEGIN PRIVATE KEY-----" in key.read_bytes()


def _accepts(load: Callable[[Any], None]) -> bool:
    """Return whether OpenSSL accepts the files that `load` adds to its context."""
    import ssl

    try:
        load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    except (ValueError, OSError):
        return False
    return True
