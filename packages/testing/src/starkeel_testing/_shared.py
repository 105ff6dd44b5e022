"""One PostgreSQL for all the processes of a test run: whoever asks first has it started."""

import json
import secrets
import socket
from contextlib import ExitStack
from socketserver import StreamRequestHandler, ThreadingTCPServer
from threading import Lock, Thread

from ._installations import find_postgres
from ._postgres import postgres

_ASK_S = 110.0


class SharedPostgres:
    """Starts the server when it is first wanted; stops it at the end of the run."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._stack = ExitStack()
        self._url = ""

    def url(self) -> str:
        """Return the server's URL."""
        with self._lock:
            if not self._url:
                installation = find_postgres()
                assert installation is not None, "PostgreSQL is neither installed nor there as a wheel"
                self._url = self._stack.enter_context(postgres(installation)).url
            return self._url

    def close(self) -> None:
        """Stop the server, if it was started."""
        with self._lock:
            self._stack.close()
            self._url = ""


class Door(ThreadingTCPServer):
    """Where the other processes of the run, those of pytest-xdist, ask for the server."""

    daemon_threads = True

    def __init__(self, shared: SharedPostgres) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.shared = shared
        self.key = secrets.token_hex(16)
        self._thread = Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        """What `asked` needs to know."""
        return f"{self.server_address[1]} {self.key}"

    def close(self) -> None:
        """Answer nobody any more."""
        self.shutdown()
        self._thread.join()
        self.server_close()


def asked(address: str) -> str:
    """Return the URL of the run's server.

    Raises:
        AssertionError: It could not be started; the message says why.
    """
    port, _, key = address.partition(" ")
    with socket.create_connection(("127.0.0.1", int(port)), timeout=_ASK_S) as connection:
        connection.sendall(f"{key}\n".encode())
        with connection.makefile("r", encoding="utf-8") as lines:
            answer = json.loads(lines.readline())
    assert "url" in answer, answer["error"]
    return str(answer["url"])


class _Handler(StreamRequestHandler):
    server: Door

    def handle(self) -> None:
        # The password of the server is for this run's processes alone.
        if not secrets.compare_digest(self.rfile.readline(64).decode("latin-1").strip(), self.server.key):
            return
        try:
            answer = {"url": self.server.shared.url()}
        except (AssertionError, OSError) as error:
            answer = {"error": str(error)}
        self.wfile.write(json.dumps(answer).encode() + b"\n")
