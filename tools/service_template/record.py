"""The record of a service that was made from the template, in its folder `.template`.

`options.json` has its options, `rendered.json.xz` the files as they were rendered last: the common ancestor
of the service's files and of those of a later template. It is in the repository, so that a merge requires no
history and no network.
"""

import lzma
from pathlib import Path
from typing import Final

import msgspec

from .options import Options

FOLDER: Final = ".template"
_OPTIONS: Final = f"{FOLDER}/options.json"
_RENDERED: Final = f"{FOLDER}/rendered.json.xz"


class RecordError(Exception):
    """A record cannot be read; the message has the file and the solution."""


class Record(msgspec.Struct, frozen=True):
    """Options of a service, and the files that were rendered last."""

    options: Options
    rendered: dict[str, str]

    def files(self) -> dict[str, bytes]:
        """Return the files of the record by their paths in the folder of the service."""
        options = msgspec.json.format(msgspec.json.encode(self.options), indent=2) + b"\n"
        content = msgspec.json.encode(self.rendered, order="sorted")
        return {_OPTIONS: options, _RENDERED: lzma.compress(content, preset=9)}


def recorded(folder: Path) -> Record | None:
    """Return the record in the folder of a service; `None` if it was not made from the template.

    Raises:
        RecordError: The record is incomplete or damaged.
    """
    if not (folder / FOLDER).exists():
        return None
    try:
        options = msgspec.json.decode((folder / _OPTIONS).read_bytes(), type=Options)
        rendered = msgspec.json.decode(
            lzma.decompress((folder / _RENDERED).read_bytes()), type=dict[str, str]
        )
    except (OSError, msgspec.DecodeError, lzma.LZMAError) as error:
        shown = f"services/{folder.name}/{FOLDER}"
        raise RecordError(
            f"{shown}: is damaged ({error}): restore it with `git checkout -- {shown}`,"
            " or remove it to keep the service without updates"
        ) from error
    if options.name != folder.name:
        raise RecordError(
            f"services/{folder.name}/{_OPTIONS}: is that of {options.name}: restore it from the history"
        )
    return Record(options, rendered)
