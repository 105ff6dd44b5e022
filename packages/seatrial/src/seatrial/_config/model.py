"""Keys of `seatrial.toml`. Each has a default; the text below a key documents it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated


@dataclass(frozen=True, slots=True)
class Doc:
    """Documentation of a key."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Paths:
    """Paths that are otherwise found by trying the usual ones."""

    liveness: Annotated[str, Doc("Liveness probe; default: searched.")] = ""
    readiness: Annotated[str, Doc("Readiness probe; default: searched.")] = ""
    metrics: Annotated[str, Doc("Metrics in Prometheus's format; default: searched.")] = ""
    openapi: Annotated[str, Doc("OpenAPI document as JSON; default: searched.")] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SafeRead:
    """A GET request without effects that succeeds, with the token if there is one."""

    path: Annotated[str, Doc("Path and query.")] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SafeWrite:
    """A request with a JSON body. `check` sends only broken forms of it, which must be refused."""

    method: Annotated[str, Doc("POST, PUT or PATCH.")] = "POST"
    path: Annotated[str, Doc("Path and query.")] = ""
    body: Annotated[str, Doc("JSON body that would be accepted.")] = ""
    idempotency_header: Annotated[str, Doc("Header of the idempotency key, for rows about data.")] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Auth:
    """Credentials."""

    scheme: Annotated[str, Doc("Scheme of the `Authorization` header.")] = "Bearer"
    token: Annotated[str, Doc("A token that is accepted; keep such a file out of the repository.")] = ""
    token_file: Annotated[str, Doc("File that contains the token.")] = ""
    token_command: Annotated[tuple[str, ...], Doc("Command that prints the token, as an array.")] = ()
    protected_path: Annotated[
        str, Doc("Path that needs the token with GET; default: `safe_read.path`, then the OpenAPI document.")
    ] = ""
    jwks_path: Annotated[str, Doc("Public keys of the issuer (JWK Set); default: searched.")] = ""
    jwks_file: Annotated[str, Doc("File with these keys, for an issuer at another address.")] = ""
    expired_token: Annotated[str, Doc("A token that was valid and has expired.")] = ""
    foreign_token: Annotated[str, Doc("A valid token for another audience.")] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cors:
    """Cross-origin requests."""

    allowed_origins: Annotated[tuple[str, ...], Doc("Origins that the service allows.")] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """Verification of certificates."""

    ca_file: Annotated[str, Doc("PEM file of the authorities that are trusted; default: the system's.")] = ""
    plain_port: Annotated[
        int,
        Doc("Port of plain HTTP beside HTTPS; 0: there is none; -1: 80 beside 443, otherwise not stated."),
    ] = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """The image."""

    reference: Annotated[str, Doc("Image or archive that `seatrial run` judges.")] = ""
    max_size_mib: Annotated[int, Doc("Largest size of the files of all layers, in MiB, uncompressed.")] = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class DrillKeys:
    """The start of the service by `seatrial drill`, and properties of it that cannot be found."""

    command: Annotated[
        tuple[str, ...], Doc("Command that starts the service in `seatrial run`, as an array.")
    ] = ()
    env: Annotated[
        Mapping[str, str],
        Doc(
            "Table of environment variables. In their values and in the command, `{port}`, `{admin_port}`, "
            "`{otlp_url}` and `{folder}`, a temporary directory, are replaced."
        ),
    ] = field(default_factory=dict)
    port_variable: Annotated[str, Doc("Variable with the port to listen on.")] = "PORT"
    admin_port_variable: Annotated[str, Doc("Variable with the separate port for operators, if any.")] = ""
    start_s: Annotated[float, Doc("Seconds from the start until the service is ready, at most.")] = 30.0
    slow_path: Annotated[str, Doc("Path of a GET that takes one to three seconds.")] = ""
    stream_path: Annotated[str, Doc("Path of an event stream.")] = ""
    websocket_path: Annotated[str, Doc("Path of a WebSocket.")] = ""
    error_path: Annotated[str, Doc("Path of a GET that answers with a 5xx status.")] = ""
    endless_path: Annotated[str, Doc("Path of a GET that takes longer than any request may.")] = ""
    request_timeout_s: Annotated[float, Doc("Seconds after which such a request is answered.")] = 30.0
    slow_client_s: Annotated[float, Doc("Seconds after which an incomplete request is refused.")] = 60.0
    database_stop: Annotated[tuple[str, ...], Doc("Command that stops the database, as an array.")] = ()
    database_start: Annotated[tuple[str, ...], Doc("Command that starts it again, and returns.")] = ()
    database_path: Annotated[
        str, Doc("Path of a GET that needs the database; default: `safe_read.path`.")
    ] = ""
    boot_without_database: Annotated[
        str, Doc("`waits` if the service starts and is not ready, `exits` if it ends with an error.")
    ] = ""
    required_variable: Annotated[str, Doc("A variable without which the service must not start.")] = ""
    wrong_values: Annotated[
        Mapping[str, str], Doc("Table of variables with a wrong value each; default: the port.")
    ] = field(default_factory=dict)
    secret_variables: Annotated[tuple[str, ...], Doc("Variables that contain a secret.")] = ()
    limited_method: Annotated[str, Doc("Method of a request that is rate limited.")] = "GET"
    limited_path: Annotated[str, Doc("Its path.")] = ""
    limited_body: Annotated[str, Doc("Its JSON body.")] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifests:
    """Kubernetes manifests and compose files."""

    path: Annotated[str, Doc("File or directory that `seatrial run` judges, or `-` for standard input.")] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """All keys."""

    url: Annotated[str, Doc("Base URL of the service; the argument of `check` has precedence.")] = ""
    admin_url: Annotated[str, Doc("Base URL of a separate port for operators; `--admin`.")] = ""
    allowed_targets: Annotated[
        tuple[str, ...],
        Doc("Hosts other than loopback to which hostile requests may be sent, with `--i-own-this`."),
    ] = ()
    only: Annotated[tuple[str, ...], Doc("Rows to judge: ids, categories or patterns.")] = ()
    skip: Annotated[tuple[str, ...], Doc("Rows to leave out.")] = ()
    require: Annotated[tuple[str, ...], Doc("Rows that must pass: `unknown` is a failure as well.")] = ()
    timeout_s: Annotated[float, Doc("Seconds to wait for a response, 0.1 to 60.")] = 5.0
    stop_s: Annotated[
        float, Doc("Seconds from the stop signal to the exit of the service, at most; 0: not stated.")
    ] = 0.0
    paths: Paths = field(default_factory=Paths)
    safe_read: SafeRead = field(default_factory=SafeRead)
    safe_write: SafeWrite = field(default_factory=SafeWrite)
    auth: Auth = field(default_factory=Auth)
    cors: Cors = field(default_factory=Cors)
    tls: Tls = field(default_factory=Tls)
    image: Image = field(default_factory=Image)
    drill: DrillKeys = field(default_factory=DrillKeys)
    manifests: Manifests = field(default_factory=Manifests)
