"""One PostgreSQL per test run: the controller starts it, pytest-xdist workers request its URL."""

import secrets
from contextlib import ExitStack
from socketserver import ThreadingMixIn
from threading import Lock, Thread
from xmlrpc.client import Fault, ServerProxy
from xmlrpc.server import SimpleXMLRPCRequestHandler, SimpleXMLRPCServer

import pytest

from .postgres import running_postgres


class PostgresBroker:
    """Starts PostgreSQL on the first request for its URL and stops it at the end of the run.

    A worker cannot own the server: it may crash or finish while others use it.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._stack = ExitStack()
        self._url = ""
        self._rpc: _RpcServer | None = None

    def url(self) -> str:
        """Return the server's URL.

        Raises:
            AssertionError: The server did not start.
        """
        with self._lock:
            if not self._url:
                self._url = self._stack.enter_context(running_postgres()).url
            return self._url

    def listen(self) -> str:
        """Listen for `request_url`, from the first call on, and return the address."""
        if self._rpc is None:
            self._rpc = _RpcServer()
            self._rpc.register_function(self.url, "url")
            Thread(target=self._rpc.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self._rpc.address

    def close(self) -> None:
        """Stop listening, and stop the server if it was started."""
        if self._rpc is not None:
            self._rpc.shutdown()
            self._rpc.server_close()
        with self._lock:
            self._stack.close()
            self._url = ""


BROKER = pytest.StashKey[PostgresBroker]()


def request_url(address: str) -> str:
    """Return the URL of the run's server.

    Raises:
        AssertionError: The server did not start; the message contains its output.
    """
    try:
        with ServerProxy(address) as broker:
            return str(broker.url())
    except Fault as error:
        raise AssertionError(error.faultString) from None


class _RpcServer(ThreadingMixIn, SimpleXMLRPCServer):
    daemon_threads = True

    def __init__(self) -> None:
        # The response contains the server's password; the secret path restricts it to this run's processes.
        path = f"/{secrets.token_hex(16)}"
        handler = type("Handler", (SimpleXMLRPCRequestHandler,), {"rpc_paths": (path,)})
        super().__init__(("127.0.0.1", 0), handler, logRequests=False)
        self.address = f"http://127.0.0.1:{self.server_address[1]}{path}"
