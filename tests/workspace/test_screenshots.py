"""Screenshots of the documentation, made from running services; `just docs screenshots` writes them."""

import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from starkeel_testing import Service

from tests.support.browser import Page, browser_page
from tests.support.registry_fleet import running_services
from tools.registry import read

SCREENSHOTS = Path(__file__).parents[2] / "docs/screenshots"
MAX_BYTES = 150_000
WIDTH, HEIGHT = 1100, 760
ENTRIES = read()
SERVICE = next((each.name for each in ENTRIES if each.calls), ENTRIES[0].name)


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with running_services() as services:
        yield services[SERVICE]


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    with browser_page(tmp_path) as page:
        page.resize(WIDTH, HEIGHT)
        yield page


def openapi(service: Service, page: Page) -> None:
    page.open(f"{service.url}/schema")
    text = page.wait_for("document.querySelector('.opblock') && document.body.innerText")

    assert SERVICE in text.lower()
    assert "Authorize" in text
    assert page.evaluate("document.querySelectorAll('.opblock').length") >= 3


def admin(service: Service, page: Page) -> None:
    page.open(f"{service.admin_url}/")
    page.wait_for("document.querySelector('a[href=\"/metrics\"]')?.innerText")
    text = page.evaluate("document.body.innerText")

    for path in ("/config", "/info", "/loggers", "/metrics", "/routes", "/tasks"):
        assert path in text
    page.resize(WIDTH, 300)


@pytest.mark.parametrize("show", [openapi, admin], ids=lambda show: show.__name__)
def test_the_documentation_shows_the_page(
    show: Callable[[Service, Page], None], service: Service, page: Page
) -> None:
    show(service, page)
    image = page.screenshot()
    path = SCREENSHOTS / f"{show.__name__}.png"
    if os.environ.get("STARKEEL_SCREENSHOTS") == "write":
        path.write_bytes(image)

    assert path.is_file(), "run `just docs screenshots`"
    stored = path.read_bytes()
    assert len(stored) < MAX_BYTES
    assert size_of(stored) == size_of(image)


def size_of(image: bytes) -> tuple[int, int]:
    """Return width and height of a PNG."""
    assert image.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", image[16:24])
    return width, height
