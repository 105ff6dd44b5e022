"""A sample service, written to a directory and run as its own process."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

SETTINGS = '''
from typing import Annotated
from starkeel_config import Secret, ServiceSettings, Settings, Variable
from starkeel_server import ServerSettings

class SampleSettings(Settings, frozen=True, kw_only=True):
    """The sample."""

    fails: Annotated[str, Variable("SAMPLE_FAILS")] = ""
    """What fails."""
    password: Annotated[Secret, Variable("SAMPLE_PASSWORD", development="hunter2")]
    """A secret."""
    flag: Annotated[str, Variable("SAMPLE_FLAG")] = ""
    """Path of a file; while it exists the database is away."""

class AllSettings(ServiceSettings, frozen=True, kw_only=True):
    server: ServerSettings
    sample: SampleSettings
'''

APP = """
import asyncio, contextlib, os, sys, time
from pathlib import Path
import structlog
from litestar import Litestar, Request, WebSocket, get, post, websocket
from litestar.response import ServerSentEvent
from litestar.plugins import InitPlugin
from prometheus_client import Counter, Gauge
from starkeel_server import ServerPlugin

log = structlog.get_logger("sample")
hits = Counter("sample_hits_total", "Hits.")
alive = Gauge("sample_alive", "Workers.", multiprocess_mode="livesum")

class Failure(Exception):
    def __init__(self, message, exit_code):
        super().__init__(message)
        self.exit_code = exit_code

class Fake(InitPlugin):
    readiness_name = "database"

    def __init__(self, settings):
        self.settings = settings

    def on_app_init(self, config):
        config.lifespan.append(self.lifespan)
        return config

    @contextlib.asynccontextmanager
    async def lifespan(self, app):
        if self.settings.fails == "lifespan":
            raise RuntimeError("the lifespan is broken")
        alive.inc()
        yield
        if self.settings.fails == "shutdown":
            await asyncio.sleep(60)
        log.info("closing database connections")

    def start_process(self, *, role, index, workers):
        structlog.configure(
            processors=[structlog.processors.add_log_level, structlog.processors.ExceptionRenderer(),
                structlog.processors.EventRenamer("message"),
                structlog.processors.JSONRenderer()],
            logger_factory=structlog.WriteLoggerFactory(sys.stdout))
        log.info("process started", role=role, index=index, workers=workers, process=os.getpid())

    def stop_process(self, *, timeout_s):
        log.info("process stopped", timeout_s=timeout_s)

    async def connect(self):
        if self.settings.fails == "connect":
            raise Failure("the database stayed away", 69)

    async def migrate(self):
        if self.settings.fails == "migrate":
            raise Failure("migration 7 failed", 65)
        if self.settings.fails == "migrate hangs":
            log.info("migrating")
            await asyncio.sleep(3600)
        return 3

    async def check_ready(self):
        if self.settings.flag and Path(self.settings.flag).exists():
            raise ConnectionError("hunter2 is no password")

    def features(self):
        yield "sampling", True, "always"

    def revision(self, message):
        return [Path(f"versions/{message}.py")]

@get("/pid")
async def pid() -> dict[str, int]:
    hits.inc()
    return {"pid": os.getpid()}

@get("/slow/{seconds:float}")
async def slow(seconds: float) -> str:
    log.info("slow began")
    await asyncio.sleep(seconds)
    return "done"

@post("/body")
async def body(request: Request) -> str:
    log.info("body began")
    return str(len(await request.body()))

@get("/events")
async def events() -> ServerSentEvent:
    async def ticks():
        try:
            yield "hello"
            while True:
                await asyncio.sleep(3600)
        finally:
            log.info("events ended")
    return ServerSentEvent(ticks())

@get("/deaf")
async def deaf() -> str:
    log.info("deaf began")
    await asyncio.to_thread(time.sleep, 3600)
    return "never"

@get("/stuck")
async def stuck() -> str:
    log.info("stuck began")
    time.sleep(3600)
    return "never"

@websocket("/live")
async def live(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_text("hello")
    try:
        while True:
            await socket.send_text(await socket.receive_text())
    finally:
        log.info("live ended")

def create_app(settings):
    if settings.sample.fails == "import":
        raise RuntimeError("the application is broken")
    plugins = [ServerPlugin(settings.server), Fake(settings.sample)]
    if settings.sample.fails == "no plugin":
        plugins = plugins[1:]
    return Litestar([pid, slow, body, events, deaf, stuck, live], plugins=plugins)
"""

MAIN = """
from starkeel_server import Service, run
SERVICE = Service(name="sample", settings="sample.settings:AllSettings", app="sample.app:create_app")
if __name__ == "__main__":
    run(SERVICE)
"""

WAIT_S = 30.0


def wait_until(is_so: Callable[[], Any], *, timeout_s: float = WAIT_S, what: object = "") -> Any:
    """Wait for a fact and return it."""
    until = time.monotonic() + timeout_s
    while not (found := is_so()):
        assert time.monotonic() < until, f"waited {timeout_s} s for {what or is_so}"
        # A pause between two looks, not a guess about how long something takes.
        threading.Event().wait(0.02)
    return found


class Sample:
    """A process of the sample service."""

    def __init__(self, command: list[str], env: dict[str, str], cwd: Path, **popen: Any) -> None:
        popen.setdefault("stdout", subprocess.PIPE)
        popen.setdefault("stderr", subprocess.PIPE)
        self.process = subprocess.Popen(command, env=env, cwd=cwd, text=True, **popen)
        self.tmp = Path(env["TMPDIR"])
        self.lines: list[str] = []
        self.errors: list[str] = []
        self._threads = [
            threading.Thread(target=_collect, args=(stream, into), daemon=True)
            for stream, into in ((self.process.stdout, self.lines), (self.process.stderr, self.errors))
            if stream is not None
        ]
        for thread in self._threads:
            thread.start()

    @property
    def logs(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in list(self.lines) if line.startswith("{")]

    @property
    def messages(self) -> list[str]:
        return [line["message"] for line in self.logs]

    @property
    def output(self) -> str:
        return "".join(self.lines + self.errors)

    def wait_for_log(self, message: str, *, count: int = 1, **fields: Any) -> dict[str, Any]:
        def found() -> dict[str, Any] | None:
            hits = [
                line for line in self.logs if line["message"] == message and fields.items() <= line.items()
            ]
            if len(hits) < count and self.process.poll() is not None:
                self._join()
                hits = [
                    line
                    for line in self.logs
                    if line["message"] == message and fields.items() <= line.items()
                ]
                assert len(hits) >= count, f"ended with {self.process.returncode}:\n{self.output}"
            return hits[count - 1] if len(hits) >= count else None

        try:
            line: dict[str, Any] = wait_until(found, what=message)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.output}") from None
        return line

    @property
    def url(self) -> str:
        return f"http://{self.wait_for_log('listening')['addr']}"

    @property
    def admin(self) -> str:
        return f"http://{self.wait_for_log('admin port opened')['addr']}"

    def wait_until_ready(self) -> "Sample":
        self.wait_for_log("workers started")
        wait_until(lambda: httpx.get(f"{self.url}/health/ready").status_code == 200, what="ready")
        return self

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self, timeout_s: float = WAIT_S) -> int:
        code = self.process.wait(timeout_s)
        self._join()
        return code

    def stop(self) -> int:
        self.signal(signal.SIGTERM)
        return self.wait()

    def _join(self) -> None:
        for thread in self._threads:
            thread.join(5)

    def close(self) -> None:
        if self.process.poll() is None:
            # Two different ones: two of a kind may arrive as one.
            self.process.send_signal(signal.SIGTERM)
            self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(WAIT_S)
        self._join()
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()


def _collect(stream: Any, into: list[str]) -> None:
    # Line by line, as they come.
    into.extend(stream)


class Samples:
    """Starts processes of the sample service."""

    wait_until = staticmethod(wait_until)

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self.directory = directory
        self.tmp = directory / "tmp"
        self.tmp.mkdir()
        self._stack = stack
        package = directory / "sample"
        package.mkdir()
        for name, text in (("__init__", ""), ("settings", SETTINGS), ("app", APP), ("__main__", MAIN)):
            (package / f"{name}.py").write_text(text)

    def environ(self, **env: object) -> dict[str, str]:
        base = {key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ}
        return {
            **base,
            "TMPDIR": str(self.tmp),
            "HOST": "127.0.0.1",
            "METRICS_HOST": "127.0.0.1",
            "PORT": "0",
            "METRICS_PORT": "0",
            "DRAIN_DELAY_SECONDS": "0",
            "SHUTDOWN_GRACE_SECONDS": "10",
            "SAMPLE_PASSWORD": "correct horse",
            **{name: str(value) for name, value in env.items()},
        }

    def start(self, *arguments: str, popen: dict[str, Any] | None = None, **env: Any) -> Sample:
        command = [sys.executable, "-m", "sample", *arguments]
        sample = Sample(command, self.environ(**env), self.directory, **(popen or {}))
        self._stack.callback(sample.close)
        return sample

    def ready(self, **env: Any) -> Sample:
        return self.start(**env).wait_until_ready()

    def finished(self, *arguments: str, **env: Any) -> Sample:
        sample = self.start(*arguments, **env)
        sample.wait()
        return sample

    def signal_group(self, sample: Sample, number: signal.Signals) -> None:
        """Send a signal to the sample's whole process group; it has one of its own when it was started so."""
        group = os.getpgid(sample.process.pid)
        assert group == sample.process.pid
        os.killpg(group, number)

    def processes(self) -> list[int]:
        """Every process that runs in the sample's directory."""
        numbered = [entry for entry in Path("/proc").iterdir() if entry.name.isdigit()]
        return [int(e.name) for e in numbered if _cwd(e) == self.directory and not _is_zombie(e)]


def _cwd(entry: Path) -> Path | None:
    try:
        return (entry / "cwd").readlink()
    except OSError:
        return None


def _is_zombie(entry: Path) -> bool:
    try:
        return "\nState:\tZ" in (entry / "status").read_text()
    except OSError:
        return True


class Certificate(NamedTuple):
    """Paths of an authority's certificate, and of one for localhost that it signed, with its key."""

    authority: Path
    cert: Path
    key: Path


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """A certificate for localhost."""
    directory = tmp_path_factory.mktemp("certificate")
    made = Certificate(directory / "authority.pem", directory / "cert.pem", directory / "key.pem")
    authority_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    pem = serialization.Encoding.PEM
    signed = _certificate("authority", authority_key.public_key(), signer=authority_key)
    made.authority.write_bytes(signed.public_bytes(pem))
    signed = _certificate("localhost", key.public_key(), signer=authority_key)
    made.cert.write_bytes(signed.public_bytes(pem))
    made.key.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return made


def _certificate(
    name: str, key: ec.EllipticCurvePublicKey, *, signer: ec.EllipticCurvePrivateKey
) -> x509.Certificate:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority")]))
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=name == "authority", path_length=None), critical=True)
        .sign(signer, hashes.SHA256())
    )


@contextmanager
def _samples(directory: Path) -> Iterator[Samples]:
    with ExitStack() as stack:
        yield Samples(directory, stack)


@pytest.fixture
def samples(tmp_path: Path) -> Iterator[Samples]:
    """Samples; every process is ended, and whatever a test started leaves nothing behind."""
    with _samples(tmp_path) as made:
        yield made
    wait_until(lambda: not made.processes(), timeout_s=10, what="no process left")
