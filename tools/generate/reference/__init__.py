"""Pages of the reference, from the source: `docs/reference`."""

from pathlib import Path

from . import commands, logs, metrics, recipes, server, spans

PAGES = {
    "metrics.md": metrics.render,
    "log-lines.md": logs.render,
    "span-attributes.md": spans.render,
    "admin-endpoints.md": server.render_endpoints,
    "exit-codes.md": server.render_exit_codes,
    "commands.md": commands.render,
    "recipes.md": recipes.render,
}


def files(root: Path) -> dict[Path, str | None]:
    """Return the pages by path; `None` for a file that no page has.

    Raises:
        SystemExit: A name has no description, or a description is of a name that does not exist.
    """
    if not (root / "packages").is_dir():
        # A workspace of services alone has no source of the packages.
        return {}
    folder = root / "docs" / "reference"
    found: dict[Path, str | None] = dict.fromkeys(folder.glob("*.md"))
    return found | {folder / name: render(root) for name, render in PAGES.items()}
