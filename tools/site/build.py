"""Build of the site with Zensical."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from .navigation import navigation
from .pages import write

_COLOR: Final = re.compile(r"\x1b\[[0-9;]*m")
_EXTENSIONS: Final[dict[str, dict[str, object]]] = {
    "abbr": {},
    "admonition": {},
    "attr_list": {},
    "md_in_html": {},
    "tables": {},
    "toc": {"permalink": True},
    "pymdownx.highlight": {"pygments_lang_class": True},
    "pymdownx.inlinehilite": {},
    "pymdownx.superfences": {},
}
_FEATURES: Final = [
    "content.code.copy",
    "navigation.footer",
    "navigation.indexes",
    "navigation.sections",
    "navigation.top",
    "search.highlight",
]
_API: Final = {
    "docstring_style": "google",
    # Fields of structs are documented as arguments, which have no signature of their own.
    "docstring_options": {"warn_unknown_params": False, "warn_missing_types": False},
    "filters": ["!^_"],
    "heading_level": 2,
    "inherited_members": False,
    "members_order": "source",
    "separate_signature": True,
    "show_if_no_docstring": False,
    "show_root_full_path": False,
    "show_root_heading": True,
    "show_source": False,
    "show_symbol_type_heading": True,
    "signature_crossrefs": False,
}


class BuildError(Exception):
    """The site cannot be built; the message has the reason."""


def build(root: Path, work: Path, site: Path, *, ref: str = "main") -> None:
    """Build the site; a warning fails the build, and leaves the folder of the site unchanged.

    Args:
        root: Root of the repository.
        work: Folder for intermediate files, which is replaced.
        site: Folder of the site, which is replaced.
        ref: Branch or tag of the repository that links lead to.

    Raises:
        BuildError: A page is invalid.
        BrokenLinkError: A page links to a file that does not exist.
        NavigationError: A page is in no section.
    """
    prepare(root, work, ref=ref)
    run = subprocess.run(
        [sys.executable, "-m", "zensical", "build", "--clean", "--strict"],
        cwd=work,
        env={**os.environ, "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    output = run.stdout + run.stderr
    if run.returncode != 0 or "No issues found" not in output:
        raise BuildError(_COLOR.sub("", output.partition("Traceback (most recent call last)")[0]).strip())
    site.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(site, ignore_errors=True)
    (work / "site").rename(site)
    shutil.rmtree(work)


def prepare(root: Path, work: Path, *, ref: str = "main") -> None:
    """Write the pages and the configuration of the site generator to a folder, which is replaced.

    Raises:
        BrokenLinkError: A page links to a file that does not exist.
        NavigationError: A page is in no section.
    """
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    pages = write(root, work / "docs", ref=ref)
    # JSON is YAML.
    text = json.dumps(_configuration(root, navigation(pages)), indent=2)
    (work / "mkdocs.yml").write_text(text, encoding="utf-8")


def _configuration(root: Path, nav: list[object]) -> dict[str, Any]:
    paths = [str(path.parent) for path in sorted(root.glob("packages/*/src/starkeel_*"))]
    return {
        "site_name": "Starkeel",
        "docs_dir": "docs",
        "site_dir": "site",
        "nav": nav,
        "theme": {
            "name": "material",
            "language": "en",
            # Fonts of the reader's system: others would be requested from Google.
            "font": False,
            "features": _FEATURES,
            "palette": [
                {"media": f"(prefers-color-scheme: {mode})", "scheme": scheme}
                for mode, scheme in (("light", "default"), ("dark", "slate"))
            ],
        },
        "extra": {"generator": False, "version": {"provider": "mike"}},
        "plugins": [
            {"search": {}},
            {"mkdocstrings": {"handlers": {"python": {"paths": paths, "options": _API}}}},
        ],
        "markdown_extensions": [{name: options} for name, options in _EXTENSIONS.items()],
    }
