"""A small service that passes every row, and named defects that each break it in exactly one way."""

import base64
import contextlib
import gzip
import json
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Iterator

from reference_tokens import is_signed, is_signed_with_public_key, key_set
from strict_http import Connection, Refused, Reply, Request

ALLOWED_ORIGIN = "https://app.example"
_BUCKETS = (0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0)


class ReferenceServer:
    """The service, listening on ports of its own for clients and for operators."""

    def __init__(self, defects: frozenset[str] = frozenset(), tls: ssl.SSLContext | None = None) -> None:
        self.defects = defects
        self.counts: Counter[tuple[str, str, str]] = Counter()
        self.lock = threading.Lock()
        self.probes = 0
        self.tls = tls
        self.is_gone = False
        """Whether connections are closed without a response."""
        self.sockets = [self._listen(self._public), self._listen(self._admin)]
        scheme = "https" if tls else "http"
        self.url = f"{scheme}://127.0.0.1:{self.sockets[0].getsockname()[1]}"
        self.admin_url = f"{scheme}://127.0.0.1:{self.sockets[1].getsockname()[1]}"

    def has(self, defect: str) -> bool:
        return defect in self.defects

    def close(self) -> None:
        for listener in self.sockets:
            # Wakes the thread that accepts.
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()

    def _listen(self, handler) -> socket.socket:
        listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        threading.Thread(target=self._accept, args=(listener, handler), daemon=True).start()
        return listener

    def _accept(self, listener: socket.socket, handler) -> None:
        while True:
            try:
                stream, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(stream, handler), daemon=True).start()

    def _serve(self, stream: socket.socket, handler) -> None:
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            stack.enter_context(contextlib.closing(stream))
            if self.is_gone:
                return
            is_plain = self.has("plain beside tls") and stream.recv(1, socket.MSG_PEEK) != b"\x16"
            if self.tls and not is_plain:
                stream = stack.enter_context(
                    contextlib.closing(self.tls.wrap_socket(stream, server_side=True))
                )
            connection = Connection(stream, self.defects)
            while True:
                try:
                    request = connection.read()
                except Refused as refused:
                    self._count("GET", "unknown", refused.status)
                    reply = self._problem(refused.status)
                    self._write(stream, None, reply, is_last=True)
                    # The client reads the response before the reset that unread bytes cause.
                    stream.shutdown(socket.SHUT_WR)
                    while stream.recv(65536):
                        pass
                    return
                reply = handler(request)
                is_last = request.get("connection").lower() == "close"
                self._write(stream, request, reply, is_last=is_last)
                if is_last:
                    return

    def _write(self, stream: socket.socket, request: Request | None, reply: Reply, *, is_last: bool) -> None:
        headers = {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "frame-ancestors 'none'"}
        headers |= {"Server": "reference"} | reply.headers
        removed = {"sniffing": "X-Content-Type-Options", "framing": "Content-Security-Policy"}
        for defect, name in removed.items():
            if self.has(defect):
                del headers[name]
        if self.has("server version"):
            headers["Server"] = "reference/1.2.3"
        if self.tls and not self.has("no hsts"):
            headers["Strict-Transport-Security"] = "max-age=31536000"
        if is_last:
            headers["Connection"] = "close"
        headers["Content-Length"] = str(len(reply.body))
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        body = b"" if request and request.method == "HEAD" and not self.has("head body") else reply.body
        stream.sendall(f"HTTP/1.1 {reply.status} X\r\n{head}\r\n".encode("latin-1") + body)

    def _count(self, method: str, route: str, status: int) -> None:
        if self.has("late counts"):
            threading.Timer(0.4, self._add, (method, route, status)).start()
        else:
            self._add(method, route, status)

    def _add(self, method: str, route: str, status: int) -> None:
        with self.lock:
            self.counts[method, route, str(status)] += 1

    def _problem(self, status: int, **headers: str) -> Reply:
        document: dict[str, object] = {"type": "about:blank", "title": "error", "status": status}
        if self.has("traceback"):
            document["detail"] = 'Traceback (most recent call last):\n  File "/srv/app/main.py", line 7'
        kind = "text/html; charset=utf-8" if self.has("html errors") else "application/problem+json"
        return Reply(status, json.dumps(document).encode(), {"Content-Type": kind} | headers)

    def _public(self, request: Request) -> Reply:
        route, reply = self._routed(request)
        known = request.method if request.method in {"GET", "HEAD", "OPTIONS", "POST", "PATCH"} else "other"
        if self.has("label of the path"):
            route = request.path
        is_lost = self.has("lost counts") and request.path == "/health/live" and reply.status == 200
        if not is_lost and not (self.has("routing errors not counted") and reply.status in {404, 405}):
            self._count(known, route, reply.status)
        self._cors(request, reply)
        return reply

    def _cors(self, request: Request, reply: Reply) -> None:
        origin = request.get("origin")
        is_allowed = origin == ALLOWED_ORIGIN
        is_allowed |= self.has("reflected origin") and origin not in {"", "null"}
        is_allowed |= self.has("null origin") and origin == "null"
        if self.has("wildcard with credentials"):
            reply.headers |= {"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Credentials": "true"}
        elif is_allowed:
            reply.headers["Access-Control-Allow-Origin"] = origin
        if not self.has("no vary"):
            reply.headers["Vary"] = "Origin, Accept-Encoding"

    def _routed(self, request: Request) -> tuple[str, Reply]:
        routes = {
            "/health/live": (("GET", "HEAD"), self._probe),
            "/health/ready": (("GET", "HEAD"), self._probe),
            "/items": (("GET", "HEAD", "POST"), self._items),
            "/openapi.json": (("GET", "HEAD"), self._openapi),
            "/.well-known/jwks.json": (("GET", "HEAD"), self._keys),
        }
        if self.has("public metrics"):
            routes["/metrics"] = (("GET",), self._metrics)
        if self.has("no liveness"):
            del routes["/health/live"]
        if self.has("no readiness"):
            del routes["/health/ready"]
        if self.has("one probe"):
            routes["/health"] = routes.pop("/health/live")
            del routes["/health/ready"]
        if request.method == "TRACE" and self.has("trace"):
            echo = "".join(f"{name}: {value}\n" for name, value in request.headers)
            return "trace", Reply(200, echo.encode(), {"Content-Type": "message/http"})
        if self.has("strange query") and "%" in request.target:
            return "unknown", self._problem(500)
        if request.path not in routes:
            status = 200 if self.has("no 404") and request.path.startswith("/seatrial") else 404
            return "unknown", self._problem(status)
        methods, handler = routes[request.path]
        if request.method == "OPTIONS":
            return request.path, Reply(204)
        if request.method not in methods:
            allow = {} if self.has("no allow") else {"Allow": ", ".join([*methods, "OPTIONS"])}
            return request.path, self._problem(404 if self.has("no 405") else 405, **allow)
        return request.path, handler(request)

    def _probe(self, request: Request) -> Reply:
        self.probes += 1
        if self.has("limited probes") and self.probes > 30:
            return self._problem(429)
        if self.has("protected probes") and not request.get("authorization"):
            return self._problem(401)
        if self.has("slow probes"):
            time.sleep(1.2)
        document = {"status": "ok"}
        if self.has("large probes"):
            document["padding"] = "a" * 5000
        if self.has("internals in probes"):
            document["database"] = "postgresql://service@10.1.2.3/service"
        headers = {} if self.has("cached probes") else {"Cache-Control": "no-store"}
        if not self.has("no content type"):
            headers["Content-Type"] = "application/json"
        return Reply(200, json.dumps(document).encode(), headers)

    @staticmethod
    def _keys(request: Request) -> Reply:
        return Reply(200, key_set(), {"Content-Type": "application/json"})

    def _openapi(self, request: Request) -> Reply:
        body = {"requestBody": {"content": {"application/json": {}}}}
        paths = {"/items": {"get": {"security": [{"bearer": []}]}, "post": body}}
        text = json.dumps({"openapi": "3.1.0", "paths": paths}).encode()
        headers = {"Content-Type": "application/json"}
        if "gzip" in request.get("accept-encoding"):
            headers["Content-Encoding"] = "gzip"
            text = text if self.has("false compression") else gzip.compress(text)
        return Reply(200, text, headers)

    def _items(self, request: Request) -> Reply:
        if request.method == "POST":
            return self._write_item(request)
        given = request.get("authorization")
        if self.has("token in query") and "token=" in request.target:
            given = f"Bearer {request.target.rpartition('=')[2]}"
        if self.has("no authentication") or (given.startswith("Bearer ") and self._is_valid(given[7:])):
            return Reply(200, b"[]", {"Content-Type": "application/json"})
        if self.has("failing decoder") and given:
            return self._problem(500)
        return self._problem(401, **({} if self.has("no challenge") else {"WWW-Authenticate": "Bearer"}))

    def _is_valid(self, text: str) -> bool:
        try:
            header, payload, signature = text.split(".")
            decoded = [json.loads(base64.urlsafe_b64decode(f"{part}==")) for part in (header, payload)]
        except ValueError:
            return False
        text, algorithm = f"{header}.{payload}", decoded[0]["alg"]
        is_valid = algorithm == "EdDSA" and (self.has("no verification") or is_signed(text, signature))
        is_valid |= self.has("algorithm none") and algorithm.lower() == "none"
        if self.has("key confusion") and algorithm == "HS256":
            is_valid = is_signed_with_public_key(text, signature)
        is_current = decoded[1]["exp"] > time.time() or self.has("no expiry")
        return is_valid and is_current and (decoded[1]["aud"] == "reference" or self.has("any audience"))

    def _write_item(self, request: Request) -> Reply:
        if request.get("content-type") != "application/json":
            return Reply(201) if self.has("any media type") else self._problem(415)
        try:
            document = json.loads(request.body.decode("utf-8"))
        except UnicodeDecodeError:
            return self._problem(500 if self.has("failing utf-8") else 400)
        except RecursionError:
            return self._problem(500 if self.has("failing nesting") else 400)
        except ValueError:
            return self._problem(500 if self.has("failing json") else 400)
        if not isinstance(document, dict):
            return Reply(201) if self.has("any type") else self._problem(422)
        return Reply(201)

    def _admin(self, request: Request) -> Reply:
        if request.path != "/metrics" or self.has("no metrics"):
            return self._problem(404)
        return self._metrics(request)

    def _metrics(self, request: Request) -> Reply:
        is_open = "openmetrics" in request.get("accept")
        text = "\n".join(self._lines(is_open=is_open)) + "\n"
        if is_open and not self.has("no end of openmetrics"):
            text += "# EOF\n"
        kind = "application/openmetrics-text; version=1.0.0" if is_open else "text/plain; version=0.0.4"
        return Reply(200, text.encode(), {"Content-Type": f"{kind}; charset=utf-8"})

    def _lines(self, *, is_open: bool) -> Iterator[str]:
        with self.lock:
            counts = dict(self.counts)
        family = "http_requests" if is_open else "http_requests_total"
        yield f"# TYPE {family} counter"
        for (method, route, status), count in counts.items():
            labels = "" if self.has("no route label") else f',route="{route}"'
            exemplar = ' # {trace_id="a"} 1' if is_open else ""
            yield f'http_requests_total{{method="{method}",status="{status}"{labels}}} {count}{exemplar}'
            if self.has("no route label"):
                break
        unit = "milliseconds" if self.has("milliseconds") else "seconds"
        yield f"# TYPE http_request_duration_{unit} histogram"
        for bound in (*_BUCKETS, "+Inf"):
            yield f'http_request_duration_{unit}_bucket{{le="{bound}"}} 1'
        yield f"http_request_duration_{unit}_sum 0.001"
        yield f"http_request_duration_{unit}_count 1"
        if not self.has("no process metrics"):
            yield "process_resident_memory_bytes 1.5e7"
            yield "process_start_time_seconds 1.7e9"
            yield "process_cpu_seconds_total 1.5"
        if self.has("malformed metrics"):
            yield "this line is wrong"


@contextlib.contextmanager
def running(*defects: str, tls: ssl.SSLContext | None = None) -> Iterator[ReferenceServer]:
    server = ReferenceServer(frozenset(defects), tls)
    try:
        yield server
    finally:
        server.close()
