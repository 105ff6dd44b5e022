"""Remove files that a service never reads from installed distributions, update RECORD files, and compile.

`slim.py SITE_PACKAGES [--binutils ROOT]`: with binutils, also strip symbols from shared objects, and replace
sources by their bytecode.
"""

import argparse
import base64
import compileall
import csv
import hashlib
import os
import platform
import py_compile
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

# Read only by compilers and type checkers.
_SUFFIXES = {".pyx", ".pxd", ".pxi", ".c", ".cc", ".cpp", ".h", ".hpp", ".pyi", ".a", ".proto"}
# Imported only by the developers of these libraries, or adapters to frameworks that are not installed.
_PLACES = (
    "advanced_alchemy/extensions/fastapi",
    "advanced_alchemy/extensions/flask",
    "advanced_alchemy/extensions/sanic",
    "advanced_alchemy/extensions/starlette",
    "advanced_alchemy/repository/memory",
    "alembic/testing",
    "anyio/_backends/_trio.py",
    "anyio/pytest_plugin.py",
    "asyncpg/_testbase",
    "backports/zstd/_cffi",  # for PyPy
    "backports/zstd/tarfile.py",
    "backports/zstd/zipfile",
    "cffi",  # compiles modules; at run time they need only _cffi_backend
    "litestar/cli",  # needs rich-click, which the images lack
    "litestar/repository/testing",
    "litestar/testing",
    "mako/testing",
    "multidict/_multidict_py.py",  # has an equivalent in C
    "redis/asyncio/multidb",
    "redis/commands/bf",  # commands of Redis modules, imported when they are used
    "redis/commands/json",
    "redis/commands/search",
    "redis/commands/timeseries",
    "sqlalchemy/testing",
    "urllib3/contrib/emscripten",
)
# PyYAML has the same in Python; only the OpenAPI document in YAML, which is rendered once, needs it.
_SHARED_OBJECTS = ("yaml/_yaml.*.so",)
# Records where uv took a wheel from; differs between builds, and nothing reads it.
_NAMES = {"uv_cache.json"}


def main() -> None:
    """Process the directory named by the arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("site_packages", type=Path)
    parser.add_argument("--binutils", type=Path)
    given = parser.parse_args()
    before = _size(given.site_packages)
    for path in list(_unneeded(given.site_packages)):
        path.unlink()
    _remove_empty_folders(given.site_packages)
    if given.binutils is not None:
        for path in given.site_packages.rglob("*.so*"):
            if path.is_file() and not path.is_symlink():
                _strip(path, given.binutils)
    for metadata in given.site_packages.glob("*.dist-info/METADATA"):
        # The description after the fields is the README of the distribution.
        metadata.write_bytes(metadata.read_bytes().partition(b"\n\n")[0] + b"\n")
    _compile(given.site_packages)
    if given.binutils is not None:
        _replace_sources(given.site_packages)
    for record in sorted(given.site_packages.glob("*.dist-info/RECORD")):
        _rewrite(record)
    sys.stdout.write(f"{before / 1e6:.1f} MB, slimmed to {_size(given.site_packages) / 1e6:.1f} MB\n")


def _size(root: Path) -> int:
    return sum(path.lstat().st_size for path in root.rglob("*"))


def _unneeded(root: Path) -> Iterator[Path]:
    places = {root / place for place in _PLACES}
    for path in root.rglob("*"):
        if path.is_file() and (
            path.suffix in _SUFFIXES
            or path.name in _NAMES
            or any(path.match(pattern) for pattern in _SHARED_OBJECTS)
            or "tests" in path.relative_to(root).parts
            or not places.isdisjoint([_source(path), *path.parents])
        ):
            yield path


def _source(path: Path) -> Path:
    """Return the source of a compiled module; any other file is returned unchanged."""
    is_compiled = path.parent.name == "__pycache__"
    return path.parent.parent / f"{path.name.partition('.')[0]}.py" if is_compiled else path


def _remove_empty_folders(root: Path) -> None:
    for folder, _, _ in os.walk(root, topdown=False):
        if not os.listdir(folder):
            os.rmdir(folder)


def _strip(path: Path, binutils: Path) -> None:
    """Remove symbols that the loader does not need."""
    machine = platform.machine()
    libraries = binutils / f"usr/lib/{machine}-linux-gnu"
    subprocess.run(  # noqa: S603 - binutils' own program, on files installed just before
        [binutils / f"usr/bin/{machine}-linux-gnu-strip", "--strip-unneeded", path],
        check=True,
        env={"LD_LIBRARY_PATH": str(libraries)},
    )


def _rewrite(record: Path) -> None:
    """Remove deleted files, and update hash and size of the others."""
    root = record.parent.parent
    with record.open(newline="", encoding="utf-8") as lines:
        rows = [row for row in csv.reader(lines) if (root / row[0]).exists()]
    with record.open("w", newline="", encoding="utf-8") as lines:
        writer = csv.writer(lines, lineterminator="\n")
        for name, digest, size in rows:
            writer.writerow([name, *(_entry(root / name) if digest else ("", size))])


def _compile(root: Path) -> None:
    """Compile every module sequentially, in the order of the names.

    Parallel compilation is not reproducible: which objects a compiled module marks as shared depends on what
    the same process compiled before.
    """
    compileall.compile_dir(
        str(root),
        # The path in the image.
        ddir=str(Path("/", *root.parts[root.parts.index("app") :])),
        quiet=2,
        workers=1,
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )


def _replace_sources(root: Path) -> None:
    """Put each compiled module in the place of its source, where Python imports it from as well."""
    for compiled in list(root.rglob("__pycache__/*.pyc")):
        source = _source(compiled)
        if source.exists():
            compiled.rename(source.with_suffix(".pyc"))
            source.unlink()
    _remove_empty_folders(root)


def _entry(path: Path) -> tuple[str, str]:
    content = path.read_bytes()
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    return f"sha256={digest}", str(len(content))


if __name__ == "__main__":
    main()
