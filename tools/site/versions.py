"""Versions of the site, side by side in one folder, with the list that the version selector reads.

FOLDER/versions.json, FOLDER/index.html and a folder for each version. Any web server can serve it.
"""

import json
import re
from pathlib import Path
from typing import Final

_VERSION: Final = re.compile(r"(\d+)\.(\d+)\.(\d+)((?:a|b|rc)\d+)?").fullmatch
_REDIRECT: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Starkeel</title>
<meta http-equiv="refresh" content="0; url=./{latest}/">
</head>
<body><a href="./{latest}/">Documentation of Starkeel {latest}</a></body>
</html>
"""


class VersionError(Exception):
    """A version is invalid; the message has it."""


def check_version(version: str) -> None:
    """Check the form of a version.

    Raises:
        VersionError: It is neither `dev` nor a release, such as `0.2.0` or `1.0.0rc1`.
    """
    if version != "dev" and not _VERSION(version):
        raise VersionError(f"{version!r} is no version: give `dev` or a release, such as 0.2.0")


def publish(folder: Path) -> str:
    """Write the list of versions and the redirect to the newest release; return that release.

    Args:
        folder: Folder with a folder for each version.
    """
    versions = sorted((path.name for path in folder.iterdir() if _is_version(path)), key=_order, reverse=True)
    latest = next((name for name in versions if _is_final(name)), versions[0])
    listed = [
        {
            "version": name,
            "title": "development" if name == "dev" else name,
            "aliases": ["latest"] if name == latest else [],
        }
        for name in versions
    ]
    for name, text in (
        ("versions.json", json.dumps(listed, indent=2)),
        ("index.html", _REDIRECT.format(latest=latest)),
    ):
        temporary = folder / f".{name}"
        temporary.write_text(text, encoding="utf-8")
        temporary.rename(folder / name)
    return latest


def _is_version(path: Path) -> bool:
    return path.is_dir() and (path.name == "dev" or _VERSION(path.name) is not None)


def _is_final(name: str) -> bool:
    found = _VERSION(name)
    return found is not None and found[4] is None


def _order(name: str) -> tuple[bool, int, int, int, str]:
    """Return a sort key: `dev` first, then releases, a final one above its candidates."""
    found = _VERSION(name)
    if found is None:
        return True, 0, 0, 0, ""
    return False, int(found[1]), int(found[2]), int(found[3]), found[4] or "~"
