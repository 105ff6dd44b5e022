"""The documentation site: built, and read in a browser."""

import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from pathlib import Path

import pytest

from tests.support.browser import Page, browser_page
from tools.site.links import BrokenLinkError, rewrite
from tools.site.navigation import NavigationError, navigation
from tools.site.pages import public_names, sources
from tools.site.versions import VersionError, check_version, publish

ROOT = Path(__file__).parents[2]
INITS = sorted(ROOT.glob("packages/*/src/*/__init__.py"))
PAGES = ("index.html", "configuration/index.html", "api/server/index.html", "runbooks/Watchdog/index.html")


pytestmark = pytest.mark.timeout(600)


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


def docs(*arguments: str, root: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run the command of `just docs` in a workspace."""
    environ = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    uv = ["uv", "run", "--quiet", "--frozen", "--isolated", "--only-group", "docs", "--project", str(ROOT)]
    command = [*uv, "python", "-m", "tools.site", *arguments]
    return subprocess.run(command, cwd=root, env=environ, capture_output=True, text=True, check=False)


def foreign(page: Page, url: str) -> list[str]:
    """Return the requested URLs of other hosts."""
    return [each for each in page.requested if not each.startswith((url, "data:", "blob:"))]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("site")
    for version in ("0.1.0", "0.2.0"):
        built = docs("--version", version, "--into", str(found))
        assert built.returncode == 0, built.stderr
    return found


@pytest.fixture
def url(folder: Path) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    with browser_page(tmp_path) as page:
        yield page


def test_two_versions_are_beside_each_other(folder: Path) -> None:
    listed = json.loads((folder / "versions.json").read_text())

    assert [(each["version"], each["aliases"]) for each in listed] == [("0.2.0", ["latest"]), ("0.1.0", [])]
    assert 'url=./0.2.0/"' in (folder / "index.html").read_text()
    for version in ("0.1.0", "0.2.0"):
        for name in PAGES:
            assert (folder / version / name).is_file()
        # Links to files that are no pages lead to the tag of the version.
        assert f"/blob/v{version}/" in (folder / version / "kubernetes/index.html").read_text()
    assert sorted(path.name for path in folder.iterdir()) == ["0.1.0", "0.2.0", "index.html", "versions.json"]


def test_reading_requests_no_other_host_and_causes_no_error(url: str, page: Page) -> None:
    for name in PAGES:
        page.open(f"{url}/0.2.0/{name.removesuffix('index.html')}")
        page.wait_for("document.readyState === 'complete' && document.querySelector('article h1')?.innerText")
    page.wait_for("document.querySelectorAll('.md-version__link').length === 2")

    assert not page.errors
    assert foreign(page, url) == []


def test_the_selector_lists_the_versions_and_the_search_finds_a_setting(url: str, page: Page) -> None:
    page.open(f"{url}/0.1.0/")
    page.wait_for("document.querySelectorAll('.md-version__link').length === 2")
    links = page.evaluate("[...document.querySelectorAll('.md-version__link')].map(link => link.href)")

    assert links == [f"{url}/0.2.0/", f"{url}/0.1.0/"]

    search(page, "SHUTDOWN_GRACE_SECONDS")
    assert foreign(page, url) == []


def search(page: Page, words: str) -> None:
    """Type into the search, and wait until it lists the page of the settings."""
    page.click(".md-search__button")
    # The dialog is in a shadow tree.
    page.wait_for("!!document.activeElement?.shadowRoot?.querySelector('input')")
    page.insert(words)
    page.wait_for(
        "[...document.activeElement.shadowRoot.querySelectorAll('[role=listbox] a')]"
        f".some(link => link.href.includes('/configuration/') && link.innerText.includes({words!r}))"
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("[a](missing.md)", "docs/fleet.md: there is no missing.md: correct the link"),
        ("[a](kubernetes.md#no-heading)", "anchor does not exist"),
    ],
)
def test_a_broken_link_fails_the_build_and_keeps_the_site(tmp_path: Path, line: str, message: str) -> None:
    root = copy_of_pages(tmp_path)
    site = tmp_path / "site"
    (site / "dev").mkdir(parents=True)
    (site / "dev/index.html").write_text("the last good one")
    with (root / "docs/fleet.md").open("a") as file:
        file.write(f"\n{line}\n")

    built = docs("--into", str(site), root=root)

    assert built.returncode == 1
    assert message in built.stderr
    assert (site / "dev/index.html").read_text() == "the last good one"


def copy_of_pages(tmp_path: Path) -> Path:
    root = tmp_path / "workspace"
    ignored = shutil.ignore_patterns("__pycache__", "tests")
    for name in ("docs", "packages", "services", "tools", "deploy"):
        shutil.copytree(ROOT / name, root / name, ignore=ignored)
    for name in (".github", "tests", "benchmarks", "examples", "changes", "templates"):
        if (ROOT / name).exists():
            (root / name).symlink_to(ROOT / name)
    for path in ROOT.iterdir():
        if path.is_file():
            shutil.copy(path, root / path.name)
    return root


def test_every_page_has_a_section() -> None:
    pages = [*sources(ROOT).values(), "decisions/index.md", "runbooks/index.md"]
    navigation(pages)

    with pytest.raises(NavigationError, match=r"docs/stray\.md is in no section: add it to tools/site"):
        navigation([*pages, "stray.md"])
    with pytest.raises(NavigationError, match=r"there is no page docs/configuration\.md"):
        navigation([page for page in pages if page != "configuration.md"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[a](kubernetes.md#secrets)", "[a](kubernetes.md#secrets)"),
        ("[a](../packages/db)", "[a](packages/db.md)"),
        ("[a](../packages/db/README.md#the-pool)", "[a](packages/db.md#the-pool)"),
        ("[a](decisions)", "[a](decisions/index.md)"),
        ("[a](../renovate.json)", "[a](https://github.com/starkeel/starkeel/blob/v1.2.3/renovate.json)"),
        ("[a](../deploy)", "[a](https://github.com/starkeel/starkeel/tree/v1.2.3/deploy)"),
        ("[a](https://example.com/x.md)", "[a](https://example.com/x.md)"),
        ("```md\n[a](missing.md)\n```\n", "```md\n[a](missing.md)\n```\n"),
    ],
)
def test_links_lead_to_pages_or_to_the_repository(text: str, expected: str) -> None:
    source = ROOT / "docs/fleet.md"
    pages = {
        source: "fleet.md",
        ROOT / "docs/kubernetes.md": "kubernetes.md",
        ROOT / "docs/decisions": "decisions/index.md",
        ROOT / "packages/db": "packages/db.md",
        ROOT / "packages/db/README.md": "packages/db.md",
    }

    assert rewrite(text, source, root=ROOT, pages=pages, ref="v1.2.3") == expected


def test_a_link_to_a_file_that_does_not_exist_is_refused() -> None:
    source = ROOT / "docs/fleet.md"
    with pytest.raises(BrokenLinkError, match=r"docs/fleet\.md: there is no missing\.md"):
        rewrite("[a](missing.md)", source, root=ROOT, pages={source: "fleet.md"}, ref="main")


@pytest.mark.parametrize("init", INITS, ids=lambda path: path.parent.name)
def test_the_api_page_has_the_public_names(init: Path) -> None:
    module = import_module(init.parent.name)
    assert sorted(public_names(init)) == sorted(module.__all__)


@pytest.mark.parametrize(
    ("folders", "latest", "order"),
    [
        (["0.9.0", "0.10.0"], "0.10.0", ["0.10.0", "0.9.0"]),
        (["0.1.0", "dev"], "0.1.0", ["dev", "0.1.0"]),
        (["0.2.0rc1", "0.1.0"], "0.1.0", ["0.2.0rc1", "0.1.0"]),
        (["0.2.0rc1", "0.2.0"], "0.2.0", ["0.2.0", "0.2.0rc1"]),
        (["dev", ".dev", "notes"], "dev", ["dev"]),
    ],
)
def test_the_newest_release_is_the_default(
    tmp_path: Path, folders: list[str], latest: str, order: list[str]
) -> None:
    for name in folders:
        (tmp_path / name).mkdir()

    assert publish(tmp_path) == latest
    listed = json.loads((tmp_path / "versions.json").read_text())
    assert [each["version"] for each in listed] == order


@pytest.mark.parametrize("version", ["", "1.0", "v1.0.0", "../1.0.0", "1.0.0/..", "latest", "1.0.0 "])
def test_a_version_of_another_form_is_refused(version: str) -> None:
    with pytest.raises(VersionError, match="is no version: give `dev` or a release"):
        check_version(version)
