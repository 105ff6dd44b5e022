"""Sent requests, metrics, log lines and spans agree."""

import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest
from websockets.sync.client import connect

ROUNDS = 12
UNMATCHED = "__unmatched__"
ROUTES = """

class Made(msgspec.Struct):
    amount: Annotated[int, msgspec.Meta(ge=1)]


@post("/made")
async def made(data: Made) -> Made:
    return data


@get("/late", **request_timeout(0.3))
async def late() -> None:
    await asyncio.sleep(30)


@get("/odd")
async def odd() -> None:
    raise HTTPException("out of stock", status_code=422)


def create_app(settings: object) -> Litestar:
    plugins = [
        ServerPlugin(settings.server),
        ObservabilityPlugin(settings.observability),
        HttpPlugin(settings.http),
    ]
    return Litestar([pid, item, fails, forbidden, slow, events, live, made, late, odd], plugins=plugins)
"""

JSON = {"content-type": "application/json"}
Key = tuple[str, str, int]


@pytest.fixture
def service(samples: Any, collector: Any) -> Any:
    package = samples.directory / "sample"
    app = package / "app.py"
    head = app.read_text().partition("def create_app")[0]
    imports = "from litestar.exceptions import HTTPException\n"
    imports += "from starkeel_http import HttpPlugin, request_timeout\n"
    app.write_text(imports + head.rstrip() + ROUTES)
    settings = package / "settings.py"
    settings.write_text(
        "from starkeel_http import HttpSettings\n" + settings.read_text() + "    http: HttpSettings\n"
    )
    return samples.ready(
        WORKERS="2",
        MAX_BODY_BYTES="1024",
        OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint,
        OTEL_BSP_MAX_QUEUE_SIZE="100000",
    )


def send_all(url: str) -> Counter[Key]:
    """Send one request of each kind and return what the client observed."""
    seen: Counter[Key] = Counter()

    def note(method: str, route: str, response: httpx2.Response) -> None:
        seen[method, route, response.status_code] += 1

    with httpx2.Client(base_url=url, timeout=30) as client:
        note("GET", "/items/{item_id}", client.get("/items/7"))
        note("POST", "/made", client.post("/made", json={"amount": 3}))
        note(
            "POST", "/made", client.post("/made", content=b"{", headers={"content-type": "application/json"})
        )
        note("POST", "/made", client.post("/made", json={"amount": -1}))
        note("POST", "/made", client.post("/made", json={"amount": 1, "note": "x" * 5000}))
        note("GET", "/forbidden", client.get("/forbidden"))
        note("GET", UNMATCHED, client.get("/nowhere"))
        note("DELETE", "/pid", client.delete("/pid"))
        note("GET", "/fails", client.get("/fails"))
        note("GET", "/late", client.get("/late"))
        note("GET", "/odd", client.get("/odd"))
    with pytest.raises(httpx2.ReadTimeout):
        httpx2.get(f"{url}/slow?seconds=20", timeout=0.5)
    seen["GET", "/slow", 499] += 1
    with connect(url.replace("http", "ws") + "/live") as socket:
        socket.send("x")
        assert socket.recv() == "x"
    seen["GET", "/live", 101] += 1
    with httpx2.stream("GET", f"{url}/events") as stream:
        next(stream.iter_bytes())
    seen["GET", "/events", 200] += 1
    return seen


def test_sent_counted_logged_and_traced_requests_agree(samples: Any, service: Any, collector: Any) -> None:
    url = service.url
    with ThreadPoolExecutor(4) as pool:
        sent = sum(pool.map(lambda _: send_all(url), range(ROUNDS)), Counter[Key]())

    statuses = {status for _, _, status in sent}
    assert {101, 200, 201, 400, 401, 404, 405, 413, 422, 499, 500, 504} <= statuses
    samples.wait_until(lambda: counted(service) == sent, what="the counter")
    # The rest is flushed at shutdown.
    assert service.stop() == 0
    assert logged(service) == sent
    assert traced(collector) == sent


def test_unknown_paths_and_methods_add_few_series(samples: Any, service: Any) -> None:
    def series() -> int:
        return len(
            re.findall(r"^http_requests\w*\{", httpx2.get(f"{service.admin}/metrics").text, re.MULTILINE)
        )

    url, admin = service.url, service.admin
    assert admin
    before = series()

    def wander(worker: int) -> None:
        with httpx2.Client(base_url=url) as client:
            for number in range(625):
                assert client.get(f"/random-{worker}/{number}").status_code == 404

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(wander, range(8)))
    with httpx2.Client(base_url=url) as client:
        for number in range(50):
            assert client.request(f"M{number}", "/pid").status_code == 501

    # The last requests had unknown methods on an existing route.
    samples.wait_until(
        lambda: (
            service.metric("http_requests_total", path=UNMATCHED) == 5000
            and service.metric("http_requests_total", path="/pid", method="_OTHER") == 50
        ),
        what="all to be counted",
    )
    # Two methods and paths, each a counter and a histogram of 12 bounds: 16 series.
    assert series() - before <= 3 * 16


def counted(service: Any) -> Counter[Key]:
    found: Counter[Key] = Counter()
    page = httpx2.get(f"{service.admin}/metrics").text
    for labels, value in re.findall(r"^http_requests_total\{(.*)\} (\S+)$", page, re.MULTILINE):
        having = dict(re.findall(r'(\w+)="([^"]*)"', labels))
        if not having["path"].startswith("/health"):
            found[having["method"], having["path"], int(having["status"])] += int(float(value))
    return found


def logged(service: Any) -> Counter[Key]:
    return Counter(
        (line["method"], line.get("route", UNMATCHED), line["status"])
        for line in service.found("request completed")
    )


def traced(collector: Any) -> Counter[Key]:
    of = [span["attributes"] for span in collector.spans if span["kind"] == 2]
    return Counter(
        (span["http.request.method"], span.get("http.route", UNMATCHED), span["http.response.status_code"])
        for span in of
    )
