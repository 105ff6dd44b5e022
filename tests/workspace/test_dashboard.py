"""The dashboard of `just dev` in a browser; `just docs screenshots` writes its screenshots."""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from starkeel_testing import wait_until

from tests.support.browser import Page, browser_page
from tests.support.dev import Dev, dev
from tests.support.npm import AXE, npm_install
from tests.workspace.test_screenshots import MAX_BYTES, SCREENSHOTS, size_of
from tools.workspace import service_names

NEEDED_SERVICES = ("accounts", "orders")

PAGES = {
    "services": "/",
    "logs": "/logs",
    "traces": "/traces?order=slowest",
    "metrics": "/metrics",
    "settings": "/settings?shown=different",
    "database": "/database",
    "api": "/api-documents",
}
WIDE, NARROW = (1280, 800), (390, 844)
# Rules of the levels A and AA of WCAG 2.2, and best practices.
AXE_RUN = (
    "axe.run().then(found => JSON.stringify(found.violations.map(v => [v.impact, v.id, v.nodes[0].html])))"
)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dev]:
    """`just dev` after a tour."""
    with dev(tmp_path_factory.mktemp("dev")) as running:
        running.wait_for("stop everything")
        toured = running.tour()
        assert toured.returncode == 0, toured
        yield running


@pytest.fixture(scope="module")
def url(fleet: Dev) -> str:
    found = re.search(r"^  dashboard +(http://\S+)/\r?$", fleet.plain, re.MULTILINE)
    assert found is not None, fleet.plain
    return found[1]


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("axe")
    npm_install(folder, AXE)
    return (folder / "node_modules/axe-core/axe.min.js").read_text("utf-8")


@pytest.fixture
def page(tmp_path: Path, url: str) -> Iterator[Page]:
    """A page, which must cause no error and request nothing from another host."""
    with browser_page(tmp_path) as page:
        page.resize(*WIDE)
        yield page
        assert page.errors == []
        hosts = {urlsplit(each).netloc for each in page.requested if not each.startswith("about:")}
        assert hosts == {urlsplit(url).netloc}


def trace_path(page: Page, url: str) -> str:
    """Return the path of the trace of the order, which the list shows with both services."""
    page.open(f"{url}/traces?route=POST+/api/orders")
    find = """[...document.querySelectorAll('tbody tr')]
        .filter(row => /orders, accounts/.test(row.innerText) && /201/.test(row.innerText))
        // The request that inserted the order has more spans than its repetition.
        .sort((one, other) => other.cells[4].innerText - one.cells[4].innerText)
        [0]?.querySelector('a').getAttribute('href')"""
    path = page.wait_for(find)
    assert isinstance(path, str)
    return path


def test_both_services_are_ready(page: Page, url: str, fleet: Dev) -> None:
    page.open(f"{url}/")

    for member in fleet.members:
        card = f"document.querySelector('#service-{member.name}')"
        page.wait_for(f"/ready/.test({card}?.querySelector('.state-good')?.innerText)")
        text = page.evaluate(f"{card}.innerText")
        assert member.url in text
        assert "database" in text
        # A service without requests has none.
        assert re.search(r"p95\n([\d.]+ m?s|-)", text)
        assert "up " in text


def test_one_trace_crosses_both_services_with_its_log_lines(page: Page, url: str) -> None:
    path = trace_path(page, url)
    page.open(f"{url}{path}")

    # The line of the order arrives after its span.
    shown = "document.querySelector('.waterfall') && document.querySelector('main').innerText"
    text = page.wait_for(f"/order created/.test({shown}) && {shown}")

    spans = page.evaluate("[...document.querySelectorAll('.waterfall summary')].map(each => each.innerText)")
    services = {re.split(r"\s+", span.strip())[-3] for span in spans}
    assert services == {"orders", "accounts"}
    assert any("INSERT orders" in span for span in spans)
    assert "curl --include --request POST" in text
    lines = text.partition("Log lines")[2]
    assert "order created" in lines
    assert re.search(r"orders request completed", lines)
    assert re.search(r"accounts request completed", lines)
    page.click(".waterfall details summary")
    assert page.wait_for("/http.response.status_code\\s+201/.test(document.querySelector('main').innerText)")


def test_a_log_line_leads_to_its_trace(page: Page, url: str) -> None:
    page.open(f"{url}/logs?text=order+created")
    page.click(".log summary")
    page.click(".log details[open] a[href^='/traces/']")

    assert "/api/orders" in page.wait_for("document.querySelector('.waterfall') && document.title")


def test_new_lines_appear_without_a_reload_and_open_lines_stay(page: Page, url: str, fleet: Dev) -> None:
    page.open(f"{url}/logs?service=orders")
    page.click(".log summary")
    page.evaluate("window.isSamePage = true")
    before = page.evaluate("document.querySelector('.log').dataset.number")

    assert fleet.tour().returncode == 0

    page.wait_for(f"Number(document.querySelector('.log').dataset.number) > {before}")
    assert page.evaluate("window.isSamePage")
    assert page.evaluate(f"document.querySelector('#log-{before} details').open")


def test_reading_the_dashboard_adds_nothing_to_it(page: Page, url: str, fleet: Dev) -> None:
    page.open(f"{url}/")
    seen = "document.querySelector('#service-orders table td:last-child')?.innerText"
    page.wait_for(seen)
    # Each read of a check takes another time: the services have been polled.
    first = page.evaluate("document.querySelector('.cards').innerText")
    page.wait_for(f"document.querySelector('.cards').innerText != {json.dumps(first)}")

    page.open(f"{url}/traces?route=health")
    assert "No trace passes the filter" in page.wait_for("document.querySelector('main')?.innerText")
    page.open(f"{url}/api-documents")
    page.wait_for("!!document.querySelector('.operation')")
    for path in (
        "/logs?text=/health/",
        "/logs?text=openapi",
        "/traces?route=openapi",
        "/metrics?text=/health/",
    ):
        page.open(f"{url}{path}")
        text = page.wait_for("document.querySelector('#live') && document.querySelector('#live').innerText")
        assert "/health/" not in text
        assert "openapi.json" not in text


def test_the_keyboard_reaches_the_content_first(page: Page, url: str) -> None:
    page.open(f"{url}/traces")
    page.wait_for("!!document.querySelector('.skip')")

    page.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.press("Enter")

    assert page.wait_for("document.activeElement.id === 'main' || location.hash === '#main'")


def test_a_service_is_restarted_from_the_page(page: Page, url: str, fleet: Dev) -> None:
    page.open(f"{url}/")
    shown = len(fleet.plain)
    page.click("#restart-orders")

    wait_until(
        lambda: re.search(r"orders +│ restart: requested in the dashboard", fleet.plain[shown:]),
        timeout_s=30,
        what=lambda: fleet.plain[shown:],
    )
    wait_until(
        lambda: "workers started" in fleet.plain[shown:], timeout_s=60, what=lambda: fleet.plain[shown:]
    )
    page.open(f"{url}/")
    page.wait_for("/ready/.test(document.querySelector('#service-orders .state-good')?.innerText)")


def test_a_service_is_stopped_and_started_from_the_page(page: Page, url: str, fleet: Dev) -> None:
    page.open(f"{url}/")
    page.click("#stop-orders")

    stopped = "/stopped/.test(document.querySelector('#service-orders .state')?.innerText)"
    page.wait_for(stopped)
    assert fleet.process.poll() is None
    page.click("#start-orders")

    page.wait_for("/ready/.test(document.querySelector('#service-orders .state-good')?.innerText)")
    assert "orders" in fleet.plain.rpartition("start: requested in the dashboard")[0].splitlines()[-1]


def test_a_call_is_made_with_the_token_of_a_development_user(page: Page, url: str) -> None:
    page.open(f"{url}/api-documents")
    page.wait_for("!!document.querySelector('.operation')")
    form = """[...document.querySelectorAll('.operation')]
        .find(each => /GET.*Get the current user/s.test(each.innerText)).querySelector('form')"""
    page.evaluate(f"{form}.requestSubmit()")

    text = page.wait_for("document.querySelector('.answer')?.innerText")

    assert "GET /api/users/me: 200" in text
    assert '"email": "dashboard-' in text
    assert page.evaluate("!!document.querySelector('.answer a[href^=\"/traces/\"]')")


@pytest.mark.parametrize("name", [*PAGES, "trace"])
def test_pages_fit_and_violate_no_rule_of_accessibility(name: str, page: Page, url: str, axe: str) -> None:
    path = trace_path(page, url) if name == "trace" else PAGES[name]
    for scheme, size in (("light", WIDE), ("dark", NARROW)):
        page.prefer(scheme)
        page.resize(*size)
        page.open(f"{url}{path}")
        page.wait_for("document.readyState === 'complete' && !!document.querySelector('#main')")
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
        page.evaluate(f"{axe}; true")
        violations = json.loads(page.evaluate(AXE_RUN))
        assert [each for each in violations if each[0] in {"serious", "critical"}] == []


@pytest.mark.parametrize("name", ["services", "logs", "trace", "metrics"])
def test_the_documentation_shows_the_page(name: str, page: Page, url: str) -> None:
    path = trace_path(page, url) if name == "trace" else PAGES[name]
    page.resize(WIDE[0], 460 if name == "logs" else WIDE[1])
    page.open(f"{url}{path}")
    page.wait_for("document.readyState === 'complete' && !!document.querySelector('#live')")
    if name == "trace":
        page.click(".waterfall > li:nth-child(2) summary")
    image = page.screenshot()
    file = SCREENSHOTS / f"dashboard-{name}.png"
    if os.environ.get("STARKEEL_SCREENSHOTS") == "write":
        file.write_bytes(image)

    assert file.is_file(), "run `just docs screenshots`"
    stored = file.read_bytes()
    assert len(stored) < MAX_BYTES
    assert size_of(stored) == size_of(image)


def test_commands_show_the_same_data(fleet: Dev) -> None:
    traced = fleet.tool("traces", "--limit", "1000")
    logged = fleet.tool("logs", "--text", "order created", "--limit", "1")
    features = fleet.tool("logs", "orders", "--text", "features").stdout.splitlines()
    status = fleet.tool("status")
    unknown = fleet.tool("logs", "order")
    nothing = fleet.tool("logs", "orders", "--text", "no line has this")

    assert re.search(r"^orders · POST /api/orders 201 .*ms$", traced.stdout, re.MULTILINE), traced
    assert re.search(r"INFO +orders order created .*product_type=oak-plank", logged.stdout), logged
    assert len(logged.stdout.splitlines()) == 1
    assert any(line.endswith(" features target=starkeel_server._ipc.startup_channel") for line in features)
    assert any(line.startswith("  on   database (sqlite at ") for line in features), features
    assert "  off  tls (TLS_CERT_FILE is not set)" in features
    assert (unknown.returncode, unknown.stdout) == (os.EX_USAGE, "")
    assert unknown.stderr == f"there is no service 'order'; services: {', '.join(service_names())}\n"
    assert (nothing.returncode, nothing.stdout, nothing.stderr) == (0, "", "no line matches\n")
    assert status.returncode == 0, status
    assert re.search(r"^accounts +ready +[\d.]+ req/s +0\.0% errors", status.stdout, re.MULTILINE), status
