"""Programs of an image: which file a command line starts."""

import posixpath
import re
import shlex
from collections.abc import Iterator
from typing import Final

from .model import Image
from .tree import File

SHELLS: Final = frozenset(
    {"sh", "bash", "dash", "ash", "zsh", "ksh", "mksh", "fish", "csh", "tcsh", "busybox", "toybox"}
)
PACKAGE_MANAGERS: Final = frozenset(
    {
        "apt", "apt-get", "aptitude", "dpkg", "apk", "yum", "dnf", "microdnf", "tdnf", "rpm", "zypper",
        "pacman", "opkg", "pip", "pipx", "uv", "conda", "mamba", "poetry", "npm", "npx", "yarn", "pnpm",
        "corepack", "gem", "bundle", "bundler", "composer", "cargo", "brew",
    }
)  # fmt: skip
_COMMAND_FOLDERS: Final = frozenset({"", "bin", "sbin", ".bin", "busybox"})
_VERSION: Final = re.compile(r"[\d.]+$")
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Programs that start another one and forward signals to it.
_INITS: Final = frozenset({"tini", "tini-static", "dumb-init", "catatonit", "docker-init"})


def find_program(image: Image, word: str) -> tuple[str, File] | None:
    """Return the path and the file of a program, as a container's `PATH` and working directory lead to it."""
    folders = image.config.environment.get("PATH", _PATH).split(":")
    folders = [image.config.working_directory] if "/" in word else folders
    for folder in folders:
        path = posixpath.join(folder, word)
        if (file := image.tree.find(path)) is not None and file.is_program:
            return path, file
    return None


def is_shell(word: str) -> bool:
    """Return whether a word of a command line is a shell."""
    return posixpath.basename(word) in SHELLS


def command_line(image: Image) -> list[str]:
    """Return the command line of the service, without an init process in front of it."""
    words = list(image.config.arguments)
    if words and posixpath.basename(words[0]) in _INITS:
        words = words[1:]
        while words and words[0].startswith("-"):
            if words.pop(0) == "--":
                break
    return words


def script_of(words: list[str]) -> str | None:
    """Return the script of `sh -c SCRIPT`, or `None`."""
    if len(words) > 2 and is_shell(words[0]) and words[1].startswith("-") and words[1].endswith("c"):
        return words[2]
    return None


def started_words(image: Image) -> list[str]:
    """Return the words of the command line, with the script of a shell split."""
    words = command_line(image)
    script = script_of(words)
    if script is None:
        return words
    try:
        return shlex.split(script)
    except ValueError:
        return script.split()


def named_programs(image: Image, names: frozenset[str]) -> Iterator[str]:
    """Yield the paths of programs with one of these names, and of links with such a name to a program."""
    for path, file in image.tree.walk():
        folder, _, name = path.rpartition("/")
        # Scripts and data of the same name elsewhere are not commands: /etc/cron.daily/dpkg.
        if posixpath.basename(folder) not in _COMMAND_FOLDERS:
            continue
        if _VERSION.sub("", name) in names and (
            file.is_program
            or (
                file.kind == "symlink" and (target := image.tree.find(path)) is not None and target.is_program
            )
        ):
            yield f"/{path}"
