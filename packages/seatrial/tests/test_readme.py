"""The table of keys in the README is that of the model."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

from seatrial._config.model import Config, Doc
from seatrial._report.formats import FORMATS

README = Path(__file__).parents[1] / "README.md"


def key_lines(kind: Any = Config, prefix: str = "") -> Iterator[str]:
    for name, hint in get_type_hints(kind, include_extras=True).items():
        if dataclasses.is_dataclass(hint):
            yield from key_lines(hint, f"{prefix}{name}.")
        else:
            doc = next(each for each in get_args(hint) if isinstance(each, Doc))
            yield f"| `{prefix}{name}` | {doc.text} |\n"


def test_readme_documents_each_key() -> None:
    assert "| key | meaning |\n| --- | --- |\n" + "".join(key_lines()) + "\n" in README.read_text("utf-8")


def test_readme_names_each_format() -> None:
    formats = README.read_text("utf-8").partition("`--format ")[2].partition("`")[0].split("|")
    assert sorted(formats) == sorted(FORMATS)
