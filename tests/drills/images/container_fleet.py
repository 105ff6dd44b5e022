"""Services, PostgreSQL and Redis as containers."""

import json
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from starkeel_testing import wait_until

from tools.registry import issuer, read, urls

from .docker import Docker
from .fake_images import public_name

HARDENED = ("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--pids-limit", "128")
MEMORY = ("--memory", "256m", "--memory-swap", "256m")
_STATE_POLL_S = 1.0
"""Seconds between checks that a container still runs while it is not ready."""


@dataclass(frozen=True)
class Container:
    """A running container."""

    docker: Docker
    name: str

    def url(self, port: int = 3000) -> str:
        """Return the URL of a published port."""
        return f"http://{self.docker('port', self.name, str(port)).splitlines()[0]}"

    def state(self) -> dict[str, Any]:
        """Return its state: `Status`, `ExitCode`, `OOMKilled`, `Health`."""
        state: dict[str, Any] = self.docker.inspect(self.name)["State"]
        return state

    def output(self) -> str:
        """Return its output."""
        done = self.docker.tried("logs", self.name)
        return done.stdout + done.stderr

    def logs(self) -> list[dict[str, Any]]:
        """Return its output lines that are JSON."""
        return [json.loads(line) for line in self.output().splitlines() if line.startswith("{")]

    def wait_until_ready(self, path: str = "/health/ready", *, port: int = 3000) -> None:
        """Wait for a 200, with frequent and cheap checks, as tests measure the time."""
        checked_at = time.monotonic()

        def is_ready() -> bool:
            nonlocal checked_at
            if time.monotonic() - checked_at > _STATE_POLL_S:
                assert self.state()["Status"] == "running", f"{self.name} has exited\n{self.output()}"
                checked_at = time.monotonic()
            try:
                return client.get(path).status_code == 200
            except httpx2.TransportError:
                return False

        with httpx2.Client(base_url=self.url(port), timeout=5, trust_env=False) as client:
            wait_until(is_ready, timeout_s=60, what=lambda: f"{self.name}\n{self.output()}")


@dataclass
class Fleet:
    """Containers on one network, with their addresses and secrets."""

    docker: Docker
    network: str
    directory: Path
    images: Mapping[str, str]
    stack: ExitStack
    create_database: Callable[[str], None] = lambda name: None
    """Creates a database, whose URL is then in the secret `NAME-database`."""

    def run(self, alias: str, image: str, *options: str, command: tuple[str, ...] = ()) -> Container:
        """Start a container with a network alias; it is removed at the end."""
        name = f"{self.network}-{alias}-{secrets.token_hex(2)}"
        self.stack.callback(self.docker.remove, name)
        names = ("--name", name, "--network", self.network, "--network-alias", alias)
        self.docker("run", "--detach", *names, *options, image, *command)
        return Container(self.docker, name)

    def file(self, name: str, content: str) -> Path:
        """Write a file that containers can read."""
        path = self.directory / name
        path.write_text(content)
        path.chmod(0o644)
        return path

    def service(
        self,
        name: str,
        *options: str,
        env: Mapping[str, str] | None = None,
        alias: str = "",
        command: tuple[str, ...] = (),
    ) -> Container:
        """Start a service, hardened as in the deployment."""
        given = self.environment(name) | dict(env or {})
        variables = [part for pair in given.items() for part in ("--env", "=".join(pair))]
        secret = ["--volume", f"{self.directory}:/run/secrets:ro"]
        ports = ["--publish", "127.0.0.1::3000", "--publish", "127.0.0.1::9090"]
        given_options = (*HARDENED, *MEMORY, *variables, *secret, *ports, *options)
        return self.run(alias or name, self.images[name], *given_options, command=command)

    def environment(self, name: str) -> dict[str, str]:
        """Return the environment of a service."""
        services = read()
        service = next(each for each in services if each.name == name)
        addresses = {each.name: f"http://{each.name}:3000" for each in services}
        own = {"JWT_AUDIENCE": "starkeel", "DRAIN_DELAY_SECONDS": "1"}
        if (issuing := issuer(services)) is not None:
            own["JWT_ISSUER"] = addresses[issuing.name]
        files = {need: variable for need, variable in _FILES.items() if need in service.needs}
        own |= {variable: f"/run/secrets/{file.format(name)}" for variable, file in files.values()}
        return own | urls(service, addresses, services)


_FILES = {
    "database": ("DATABASE_URL_FILE", "{}-database"),
    "redis": ("REDIS_URL_FILE", "redis"),
    "signing key": ("JWT_PRIVATE_KEY_FILE", "signing-key"),
}
"""Variable and file of each need."""


def signing_key() -> str:
    """Return a new signing key for the service that issues tokens."""
    private = Ed25519PrivateKey.generate()
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@contextmanager
def fleet(docker: Docker, images: Mapping[str, str], directory: Path) -> Iterator[Fleet]:
    """Create a network with a PostgreSQL and a Redis."""
    with ExitStack() as stack:
        network = f"starkeel-test-{secrets.token_hex(3)}"
        docker("network", "create", network)
        stack.callback(docker.tried, "network", "rm", network)
        made = Fleet(docker, network, directory, images, stack)
        directory.chmod(0o755)  # mounted, and read by other users
        password = secrets.token_urlsafe(18)
        made.file("password", password)
        made.file("redis", "redis://redis:6379/0")
        made.file("signing-key", signing_key())
        database = postgres(made, "postgres")

        def create_database(name: str) -> None:
            made.file(f"{name}-database", f"postgresql://postgres:{password}@postgres:5432/{name}")
            command = ("psql", "-h", "127.0.0.1", "-U", "postgres", "-c", f"CREATE DATABASE {name}")
            docker("exec", "--env", f"PGPASSWORD={password}", database.name, *command)

        made.create_database = create_database
        for name in images:
            create_database(name)
        made.run("redis", public_name("valkey"), "--user", "999", *HARDENED, command=_REDIS)
        yield made


_REDIS = ("valkey-server", "--save", "", "--protected-mode", "no")


def postgres(owner: Fleet, alias: str, *options: str, settings: tuple[str, ...] = ()) -> Container:
    """Start a PostgreSQL without persistent storage, and wait until it accepts connections.

    Args:
        owner: Fleet with its network.
        alias: Network alias.
        options: Options of the container.
        settings: Settings of the server, such as `ssl=on`.
    """
    # The directory of the socket, because the image's entrypoint connects there to run its scripts.
    socket = "/var/run/postgresql:uid=999,gid=999"
    places = ("--tmpfs", "/tmp", "--tmpfs", socket, "--tmpfs", "/var/lib/postgresql/data:uid=999")
    secret = (
        "--volume",
        f"{owner.directory}/password:/password:ro",
        "--env",
        "POSTGRES_PASSWORD_FILE=/password",
    )
    given = ("fsync=off", *settings)
    command = ("postgres", *(part for setting in given for part in ("-c", setting)))
    user = ("--user", "999:999", *HARDENED)
    container = owner.run(alias, public_name("postgres"), *user, *places, *secret, *options, command=command)

    def is_up() -> bool:
        assert container.state()["Status"] == "running", container.output()
        # By TCP: while the server initializes, it listens on the socket only.
        probe = owner.docker.tried("exec", container.name, "pg_isready", "-h", "127.0.0.1")
        return probe.returncode == 0

    wait_until(is_up, timeout_s=60, what=container.output)
    return container
