"""Records of services that were made from the template: compressed, so that no text is found in them."""

from pathlib import Path
from typing import NamedTuple

from ..service_template.record import Record, recorded
from ..service_template.render import formatted
from .words import Words


class Recorded(NamedTuple):
    """A service that was made from the template.

    Attributes:
        folder: Its folder, from the root.
        record: Its record.
        unedited: Files that are as they were rendered.
    """

    folder: Path
    record: Record
    unedited: list[str]


def read_records(root: Path) -> list[Recorded]:
    """Return the records of a workspace before its files change.

    Raises:
        RecordError: A record is damaged.
    """
    found = []
    for folder in sorted(root.glob("services/*/")):
        if (record := recorded(folder)) is not None:
            rendered = {name: text.encode() for name, text in record.rendered.items()}
            unedited = [name for name, content in rendered.items() if _content(folder / name) == content]
            found.append(Recorded(folder.relative_to(root), record, unedited))
    return found


def write_records(root: Path, records: list[Recorded], words: Words) -> None:
    """Write the records with the new name, and the files that are as they were rendered.

    Without this, every line with the name would be a later version of the template.

    Raises:
        TemplateError: A file is invalid Python with the new name.
    """
    for each in records:
        replaced = {words.replaced(name): words.replaced(text) for name, text in each.record.rendered.items()}
        options = each.record.options
        rendered = formatted(replaced, options, root)
        files = Record(options, rendered).files()
        files |= {name: rendered[name].encode() for name in map(words.replaced, each.unedited)}
        for name, content in files.items():
            (root / each.folder / name).write_bytes(content)


def _content(file: Path) -> bytes | None:
    return file.read_bytes() if file.is_file() else None
