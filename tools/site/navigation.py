"""Sections of the site and the order of their pages."""

from collections.abc import Iterable
from typing import Final

Entry = str | tuple[str, "list[Entry]"]

SECTIONS: Final[list[tuple[str, list[Entry]]]] = [
    ("Tutorial", ["tutorial/own-endpoint.md", "tutorial/first-service.md"]),
    (
        "How to",
        [
            "how-to/add-a-service.md",
            "how-to/remove-a-service.md",
            "adopt.md",
            (
                "Deploy",
                ["kubernetes.md", "images.md", "how-to/compose-on-one-host.md", "how-to/platforms.md"],
            ),
            "how-to/dashboard.md",
            "how-to/own-telemetry.md",
            "how-to/change-the-schema.md",
            "how-to/events-and-jobs.md",
            "how-to/rotate-keys.md",
            "how-to/tls.md",
            "plugins.md",
            "release.md",
            "contributing.md",
        ],
    ),
    (
        "Operate",
        [
            "observability.md",
            "operate/upgrade.md",
            ("From version to version", ["upgrade/*"]),
            "operate/rollback.md",
            "operate/backup.md",
            "operate/capacity.md",
            "operate/regions.md",
            ("Runbooks", ["runbooks/index.md", "runbooks/*"]),
        ],
    ),
    (
        "Reference",
        [
            "configuration.md",
            "checklist.md",
            "reference/*",
            "errors.md",
            "telemetry.md",
            "fleet.md",
            "services.md",
            ("Packages", ["packages/*"]),
            ("Services", ["services/*"]),
            ("Python API", ["api/*"]),
            "changelog.md",
        ],
    ),
    (
        "Explanation",
        [
            "explanation/architecture.md",
            "explanation/guarantees.md",
            "lifecycle.md",
            "database.md",
            "security.md",
            "threat-model.md",
            "reporting.md",
            "performance.md",
            "comparison.md",
            ("Decisions", ["decisions/index.md", "decisions/*"]),
        ],
    ),
]
OPTIONAL: Final = {"adopt.md", "release.md", "services.md"}


class NavigationError(Exception):
    """The sections and the pages contradict each other; the message names the page."""


def navigation(pages: Iterable[str]) -> list[object]:
    """Return the navigation in the form of the site generator.

    Args:
        pages: Paths of all pages in the site.

    Raises:
        NavigationError: A page has no section, or a page of a section does not exist.
    """
    left = set(pages) - {"index.md"}
    # A pattern has the pages that no entry names.
    named = {entry for _, entries in SECTIONS for entry in _names(entries)}
    sections: list[object] = ["index.md"]
    for title, entries in SECTIONS:
        sections.append({title: _entries(entries, left, named)})
    if left:
        raise NavigationError(f"docs/{min(left)} is in no section: add it to tools/site/navigation.py")
    return sections


def _names(entries: Iterable[Entry]) -> Iterable[str]:
    for entry in entries:
        if isinstance(entry, str):
            yield entry
        else:
            yield from _names(entry[1])


def _entries(entries: Iterable[Entry], left: set[str], named: set[str]) -> list[object]:
    found: list[object] = []
    for entry in entries:
        if not isinstance(entry, str):
            title, below = entry
            if inside := _entries(below, left, named):
                found.append({title: inside})
        elif entry.endswith("/*"):
            matching = sorted(page for page in left if page.startswith(entry[:-1]) and page not in named)
            left.difference_update(matching)
            found.extend(matching)
        elif entry in left:
            left.remove(entry)
            found.append(entry)
        elif entry not in OPTIONAL:
            raise NavigationError(f"tools/site/navigation.py: there is no page docs/{entry}")
    return found
