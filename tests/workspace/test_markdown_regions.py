"""Generated parts of Markdown files."""

import pytest

from tools.generate.markdown_regions import filled

TEXT = "before\n\n<!-- generated: table -->\nold\n<!-- end of the generated part -->\n\nafter\n"


def test_only_the_generated_part_is_replaced() -> None:
    expected = TEXT.replace("old", "new")

    assert filled("README.md", TEXT, {"table": "new\n"}) == expected
    assert filled("README.md", expected, {"table": "new"}) == expected


def test_a_part_that_the_file_lacks_is_named() -> None:
    with pytest.raises(SystemExit, match=r"README.md: has no part 'diff'; write `<!-- generated: diff -->`"):
        filled("README.md", TEXT, {"table": "", "diff": ""})


def test_a_part_that_nothing_generates_is_named() -> None:
    with pytest.raises(SystemExit, match=r"README.md: nothing generates 'table'; known: diff"):
        filled("README.md", TEXT.replace("table", "diff") + TEXT, {"diff": ""})
