"""Layers that a change of the application's code replaces."""

import posixpath
import re
from collections.abc import Iterable, Iterator
from typing import Final

from .._static.findings import Findings
from .model import Image
from .programs import find_program, is_shell, started_words

_MIB: Final = 1 << 20
_SMALL: Final = 64 << 10
"""Bytes below which dependencies need no layer of their own."""
_SITE_PACKAGES: Final = "/site-packages/"
_PACKAGE: Final = re.compile(r"(?:.*?/)?(?:site-packages|node_modules|vendor|BOOT-INF/lib|gems)/[^/]+")
# Installers that base images contain, which are no dependencies of the application.
_INSTALLER: Final = re.compile(
    r"/(?:site-packages/(?:pip|setuptools|wheel|pkg_resources)|node_modules/(?:npm|corepack))[/-]"
)
_MODULE: Final = re.compile(r"(?P<module>[A-Za-z_]\w*(?:\.\w+)*)(?::\w+(?:\(.*\))?)?")
_INTERPRETER: Final = re.compile(r"(?:python|node|java|ruby|php|perl|deno|bun|dotnet)[\d.]*")


def dependency_layer(image: Image, findings: Findings) -> None:
    """Judge whether a change of the application leaves the layer with its dependencies unchanged."""
    words = started_words(image)
    packages = _packages(image)
    files = dict(file for word in words for file in _files(image, word, packages))
    sizes = _sizes(packages, own=files)
    if sum(sizes.values()) < _SMALL:
        if any(_INTERPRETER.fullmatch(posixpath.basename(word)) for word in words):
            findings.undecided(
                "no directory with dependencies was found; they may be in the application's files"
            )
        return
    if not files:
        findings.undecided("which files are the application's does not follow from `ENTRYPOINT` and `CMD`")
        return
    application, dependencies = max(files.values()), max(sizes, key=lambda layer: sizes[layer])
    text = (
        f"the application is in layer {application + 1}, most of its dependencies "
        f"({sizes[dependencies] / _MIB:.1f} MiB) in layer {dependencies + 1}"
    )
    findings.judge(dependencies < application, text, f"{text}: each change of code ships them again")


def _packages(image: Image) -> dict[str, dict[int, int]]:
    """Return the bytes by layer of each directory or file directly in a directory of dependencies."""
    packages: dict[str, dict[int, int]] = {}
    for path, file in image.tree.walk():
        if file.size and (match := _PACKAGE.match(path)) and not _INSTALLER.search(f"/{path}"):
            sizes = packages.setdefault(f"/{match[0]}", {})
            sizes[file.layer] = sizes.get(file.layer, 0) + file.size
    return packages


def _sizes(packages: dict[str, dict[int, int]], *, own: Iterable[str]) -> dict[int, int]:
    """Return the bytes of dependencies by layer, without the application's own packages."""
    sizes: dict[int, int] = {}
    for package, by_layer in packages.items():
        if not any(path == package or path.startswith(f"{package}/") for path in own):
            for layer, size in by_layer.items():
                sizes[layer] = sizes.get(layer, 0) + size
    return sizes


def _files(image: Image, word: str, packages: Iterable[str]) -> Iterator[tuple[str, int]]:
    """Yield the application's files that a word of the command line refers to, with their layers."""
    folder = image.config.working_directory
    candidates = [posixpath.join(folder, word)]
    if (match := _MODULE.fullmatch(word)) is not None:
        module = match["module"].replace(".", "/")
        installed = {posixpath.dirname(each) for each in packages if _SITE_PACKAGES in each}
        roots = (folder, posixpath.join(folder, "src"), *sorted(installed))
        candidates += [
            posixpath.join(root, f"{module}{end}") for root in roots for end in (".py", "/__init__.py")
        ]
    found = [
        (path, file.layer)
        for path in candidates
        if (file := image.tree.find(path)) is not None and file.kind == "file"
    ]
    if not found and not is_shell(word) and not _INTERPRETER.fullmatch(posixpath.basename(word)):
        program = find_program(image, word)
        found = [] if program is None else [(program[0], program[1].layer)]
    yield from found
