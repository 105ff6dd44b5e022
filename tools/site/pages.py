"""The pages of the site, from `docs/`, the READMEs and the public names of the packages."""

import ast
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from .links import rewrite

_AT_ROOT: Final = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "reporting.md",
}


def sources(root: Path) -> dict[Path, str]:
    """Return the Markdown files of the site with their paths in it."""
    docs = root / "docs"
    found = {path: path.relative_to(docs).as_posix() for path in sorted(docs.rglob("*.md"))}
    found |= {root / name: page for name, page in _AT_ROOT.items()}
    for kind in ("packages", "services"):
        found |= {path: f"{kind}/{path.parent.name}.md" for path in sorted(root.glob(f"{kind}/*/README.md"))}
    return found


def write(root: Path, target: Path, *, ref: str) -> list[str]:
    """Write the pages and the files they show; return the paths of the pages.

    Args:
        root: Root of the repository.
        target: Folder to write to, which must be empty or absent.
        ref: Branch or tag of the repository that links lead to.

    Raises:
        BrokenLinkError: A link leads to a file that does not exist.
    """
    docs = root / "docs"
    files = sources(root)
    generated = dict(_generated(root))
    linkable = files | _linkable(root, files)
    shutil.copytree(docs, target, ignore=shutil.ignore_patterns("*.md"))
    for source, page in files.items():
        text = re.sub(r"<!-- words: o(?:n|ff) -->\n", "", source.read_text("utf-8"))
        generated[page] = rewrite(text, source, root=root, pages=linkable, ref=ref)
    for page, text in generated.items():
        path = target / page
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return list(generated)


def _linkable(root: Path, files: dict[Path, str]) -> dict[Path, str]:
    """Return further files and folders that links may lead to, with the pages or files in the site."""
    docs = root / "docs"
    found = {
        path: path.relative_to(docs).as_posix()
        for path in docs.rglob("*")
        if path.is_file() and path not in files
    }
    found |= {path.parent: page for path, page in files.items() if path.name == "README.md"}
    found |= {docs / name: f"{name}/index.md" for name in ("decisions", "runbooks")}
    return found | {root / "README.md": "index.md", docs: "index.md"}


def _generated(root: Path) -> Iterator[tuple[str, str]]:
    """Yield pages that have no file: lists of pages, and the Python API."""
    for name, title in (("decisions", "Decisions"), ("runbooks", "Runbooks")):
        files = sorted((root / "docs" / name).glob("*.md"))
        rows = "".join(f"- [{_title(path)}]({path.name})\n" for path in files)
        yield f"{name}/index.md", f"# {title}\n\n{rows}"
    for init in sorted(root.glob("packages/*/src/starkeel_*/__init__.py")):
        module = init.parent.name
        names = public_names(init)
        blocks = "".join(f"\n::: {module}.{name}\n" for name in names)
        yield f"api/{init.parents[2].name}.md", f"# {module}\n{blocks}"


def public_names(init: Path) -> list[str]:
    """Return `__all__` of a module without importing it, classes and functions first."""
    names: list[str] = []
    for node in ast.parse(init.read_text("utf-8")).body:
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets):
                names = ast.literal_eval(node.value) if node.value else []
    return sorted(names, key=lambda name: (name.startswith("_"), name.lower()))


def _title(path: Path) -> str:
    first = path.read_text("utf-8").partition("\n")[0]
    return first.removeprefix("# ").strip()
