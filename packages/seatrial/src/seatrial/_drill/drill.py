"""Subject of the rows of `drill`: instances of the service, started when a row needs them."""

import contextlib
import secrets
import signal
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from .._config.model import Config, Paths
from .._errors import UsageError
from .._rows.verdict import Evidence, Undecided
from .._run.budget import Budget
from .._target.exchange import Connector, request_bytes
from .._target.service import Service
from .collector import Collector
from .database import Database
from .environment import replaced, service_environment
from .found_service import FoundService
from .instance import Instance
from .once import Once
from .ports import free_port
from .processes import are_killed
from .waiting import until

_DEFAULT_STOP_S = 30.0
_READY = (200, 204)
_CLOSE_AFTER_S = 5.0


class Drill:
    """A service that is started, loaded, signalled and stopped.

    Args:
        command: Program and arguments.
        config: Configuration.
        budget: Limits.
    """

    def __init__(self, command: Sequence[str], config: Config, budget: Budget) -> None:
        self.config = config
        self.keys = config.drill
        self.budget = budget
        self.once = Once()
        self.ready_s: list[float] = []
        """Seconds from the start of each instance until it was ready."""
        self.outputs: list[bytes] = []
        """Everything that ended instances have written."""
        self._command = command
        self._folder = tempfile.TemporaryDirectory(prefix="seatrial-")
        self.collector = Collector()
        self._sink = Collector()
        """Gets the spans of instances that no row about traces reads."""
        self._lock = threading.RLock()
        self._is_closed = False
        self._instances: list[Instance] = []
        self._unlisted: set[str] = set()
        """Marks of processes whose start was interrupted, by which they are found."""
        self._calm: Instance | None = None
        self.start_code: int | None = None
        """Exit code of an instance that was never ready, None if it went on."""
        self.start_evidence: tuple[Evidence, ...] = ()
        """Evidence about an instance that was never ready; empty if there was none."""
        self.database = Database(self.keys, self._folder.name)
        self._token: str | None = None
        self._paths: Paths | None = None
        self._services: dict[str, Service] = {}

    # Instances

    def launch(
        self,
        changes: Mapping[str, str] | None = None,
        *,
        without: Sequence[str] = (),
        port: int | None = None,
        is_traced: bool = False,
    ) -> Instance:
        """Start an instance without waiting for it.

        Args:
            changes: Variables that differ.
            without: Variables that are not set.
            port: Port to listen on; by default a free one.
            is_traced: Whether its spans are sent to `collector`.

        Raises:
            UsageError: The program cannot be executed.
            Undecided: The drill is closed.
        """
        self.budget.check_time()
        port, admin_port = port or free_port(), free_port()
        values = {
            "port": str(port),
            "admin_port": str(admin_port),
            "otlp_url": (self.collector if is_traced else self._sink).url,
            "folder": self._folder.name,
        }
        environment = {**service_environment(self.keys, values), **(changes or {})}
        environment = {name: value for name, value in environment.items() if name not in without}
        command = [replaced(part, values) for part in self._command]
        with self._lock:
            if self._is_closed:
                raise Undecided("The drill was interrupted.")
            token = secrets.token_hex(8)
            self._unlisted.add(token)
            try:
                instance = Instance(command, environment, port=port, admin_port=admin_port, token=token)
            except OSError as error:
                reason = f"cannot execute {command[0]!r}: {error.strerror or error}"
                raise UsageError(f"COMMAND: {reason}") from error
            self._instances.append(instance)
            self._unlisted.discard(token)
        return instance

    def search(self) -> dict[str, str]:
        """Start an instance, and return what is found about it.

        Raises:
            UsageError: It exits instead of becoming ready, or refuses the safe read.
        """
        try:
            self._calm = self.start(is_traced=True)
        except Undecided as problem:
            if self.start_code is None:
                return {"readiness": "never ready"}
            last = self.start_evidence[-1].text.splitlines()[-1]
            raise UsageError(
                f"COMMAND: exited with code {self.start_code} before it was ready: {last}"
            ) from problem
        self._check_safe_read(self._calm)
        return self.service(self._calm).found

    def _check_safe_read(self, instance: Instance) -> None:
        path = self.config.safe_read.path
        if path:
            status = self.service(instance).client.get(path, headers=self.authorization(instance)).status
            if status >= 400:
                raise UsageError(f"safe_read.path: GET {path} is answered {status}; correct it, or [auth]")

    def start(self, *, is_traced: bool = False) -> Instance:
        """Return a new instance that is ready; its spans are sent to `collector` if `is_traced`.

        Raises:
            Undecided: It was not ready in time, or one before it was not.
        """
        if not self.start_evidence:
            instance = self.launch(is_traced=is_traced)
            if self.wait_until_ready(instance, self.keys.start_s):
                self.ready_s.append(instance.ready_s)
                return instance
            self.start_code = instance.exit_code
            self.end(instance)
            self.start_evidence = Evidence("readiness", instance.last_probe), instance.evidence()
        state = "exited" if self.start_code is not None else "is not ready"
        raise Undecided(f"It {state} within {self.keys.start_s:g} s of its start: see lifecycle-start-time.")

    def wait_until_ready(self, instance: Instance, timeout_s: float) -> bool:
        """Return whether an instance answers its readiness probe with 200 or 204 within a time."""

        def is_ready_or_gone() -> bool:
            return instance.exit_code is not None or self.is_ready(instance)

        until(is_ready_or_gone, timeout_s)
        return instance.exit_code is None and instance.ready_s > 0

    def is_ready(self, instance: Instance) -> bool:
        """Return whether an instance answers its readiness probe with 200 or 204 now."""
        try:
            # A port that nothing listens on yet costs no request of the budget.
            self.connector(instance).connect().close()
            service = self.service(instance)
            path = self.readiness_path(service)
            response = service.client.get(path)
            instance.last_probe = f"GET {path}\n{response.excerpt}"
            is_ready = response.status in _READY
            if is_ready:
                instance.note_ready()
                self._keep_paths(service)
        except OSError as error:
            instance.last_probe = str(error)
            return False
        return is_ready

    def _keep_paths(self, service: Service) -> None:
        if self._paths is None:
            found = {"liveness": service.liveness or "", "readiness": service.readiness or ""}
            self._paths = replace(self.config.paths, **found)

    def wait_until_answering(self, instance: Instance, timeout_s: float) -> bool:
        """Return whether an instance runs and is ready again within a time."""
        has_answered = until(lambda: instance.exit_code is not None or self.is_ready(instance), timeout_s)
        # Not probed again: the next response may be that of a worker which is not ready yet.
        return has_answered and instance.exit_code is None

    def readiness_path(self, service: Service) -> str:
        """Return the readiness probe, or what comes next to it."""
        return service.readiness or service.liveness or service.readable_path

    @contextlib.contextmanager
    def instance(self, *, is_traced: bool = False) -> Iterator[Instance]:
        """A new instance that is ready, killed at the end if it still runs."""
        instance = self.start(is_traced=is_traced)
        try:
            yield instance
        finally:
            self.end(instance)

    @property
    def calm(self) -> Instance:
        """The instance that rows share which do not stop it; started again if it has exited."""
        with self._lock:
            if self._calm is None or self._calm.exit_code is not None:
                self._calm = self.start(is_traced=True)
            return self._calm

    def end(self, instance: Instance) -> None:
        """Kill what is left of an instance."""
        instance.close()
        self.outputs.append(instance.written)
        if instance in self._instances:
            self._instances.remove(instance)

    @property
    def stop_s(self) -> float:
        """Seconds from the stop signal to the exit, at most; Kubernetes's default if it is not stated."""
        return self.config.stop_s or _DEFAULT_STOP_S

    # Requests

    def service(self, instance: Instance) -> Service:
        """Return the service of an instance, with the paths that were found before."""
        if self._paths is None:
            # While it starts, an answer to one of the usual paths shows nothing about the others.
            return FoundService(self, instance, self.config.paths)
        if instance.token not in self._services:
            self._services[instance.token] = FoundService(self, instance, self._paths)
        return self._services[instance.token]

    def token(self, service: Service) -> str | None:
        """Return the token, or None if none is configured."""
        if self._token is None:
            self._token = service.read_token() or ""
        return self._token or None

    def connector(self, instance: Instance) -> Connector:
        """Return what opens connections to an instance."""
        return Connector(instance.address, None, self.config.timeout_s)

    def request(
        self, instance: Instance, path: str, *, is_last: bool = True, headers: Sequence[tuple[str, str]] = ()
    ) -> bytes:
        """Return a GET request with the token, if there is one.

        Args:
            instance: The instance.
            path: Path and query.
            is_last: Whether the connection is closed afterwards.
            headers: Further headers.
        """
        usual = [("Accept", "*/*"), ("Connection", "close" if is_last else "keep-alive")]
        sent = [*usual, *self.authorization(instance), *headers]
        return request_bytes("GET", path, instance.address.authority, sent, None)

    def authorization(self, instance: Instance) -> list[tuple[str, str]]:
        """Return the `Authorization` header, if a token is configured."""
        return self.service(instance).authorization

    @property
    def token_secrets(self) -> tuple[str, ...]:
        """Values that no report may contain."""
        given = [self.keys.env[name] for name in self.keys.secret_variables if name in self.keys.env]
        auth = self.config.auth
        return tuple(filter(None, (*given, self._token, auth.token, auth.expired_token, auth.foreign_token)))

    @property
    def database_path(self) -> str:
        """Path of a GET that needs the database."""
        return self.keys.database_path or self.config.safe_read.path

    def close(self) -> None:
        """End everything that was started; nothing more can be."""
        with self._lock:
            self._is_closed = True
        try:
            for instance in list(self._instances):
                if instance.exit_code is None:
                    instance.send_signal(signal.SIGTERM)
            until(lambda: all(each.exit_code is not None for each in self._instances), _CLOSE_AFTER_S)
        finally:
            with contextlib.ExitStack() as stack:
                stack.callback(self._folder.cleanup)
                stack.callback(self.collector.close)
                stack.callback(self._sink.close)
                stack.callback(self.database.start)
                stack.callback(until, lambda: are_killed(self._unlisted), _CLOSE_AFTER_S)
                for instance in list(self._instances):
                    stack.callback(instance.close)
