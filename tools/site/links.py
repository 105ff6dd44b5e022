"""Links of the pages: to other pages of the site, or to files of the repository."""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Final

REPOSITORY: Final = "https://github.com/starkeel/starkeel"
_LINK: Final = re.compile(r"(\]\()(?!https?://|mailto:|#)([^)#\s]+)(#[^)]*)?(\))")
_FENCE: Final = re.compile(r"(?ms)^(?P<fence>[ \t]*```+).*?^(?P=fence)[ \t]*$")


class BrokenLinkError(Exception):
    """A page links to a file that does not exist; the message has both."""


def rewrite(text: str, source: Path, *, root: Path, pages: Mapping[Path, str], ref: str) -> str:
    """Return a page with links that are valid in the site.

    Links to files that are no page of the site lead to the repository.

    Args:
        text: Markdown of the page.
        source: Its file.
        root: Root of the repository.
        pages: Paths in the site by file or folder.
        ref: Branch or tag of the repository.

    Raises:
        BrokenLinkError: A link leads to a file that does not exist.
    """

    def link(found: re.Match[str]) -> str:
        before, target, anchor, after = found.groups()
        return f"{before}{_site_link(source, target, root, pages, ref)}{anchor or ''}{after}"

    return "".join(part if is_code else _LINK.sub(link, part) for part, is_code in _parts(text))


def _parts(text: str) -> Iterator[tuple[str, bool]]:
    """Yield the text in parts, and whether each is a code block."""
    at = 0
    for block in _FENCE.finditer(text):
        yield text[at : block.start()], False
        yield block[0], True
        at = block.end()
    yield text[at:], False


def _site_link(source: Path, target: str, root: Path, pages: Mapping[Path, str], ref: str) -> str:
    path = Path(os.path.normpath(source.parent / target))
    if not path.exists():
        raise BrokenLinkError(f"{source.relative_to(root)}: there is no {target}: correct the link")
    if path in pages:
        here = PurePosixPath(pages[source]).parent
        return os.path.relpath(pages[path], here)
    kind = "tree" if path.is_dir() else "blob"
    return f"{REPOSITORY}/{kind}/{ref}/{path.relative_to(root).as_posix()}"
