"""Findings and non-findings of the words check."""

import subprocess
import sys
from pathlib import Path

import pytest

from tools.checks.words import RULES, findings, main


def words(name: str, content: str) -> list[str]:
    return [finding.word for finding in findings(name, content)]


@pytest.mark.parametrize(
    "source",
    [
        "def tell() -> None: ...",
        "def _told() -> None: ...",
        "class AskedPages: ...",
        "is_told = True",
        "for one in pages: ...",
        '"""What is sent."""',
        '"""Return the worker that knows."""',
        "# Whoever comes next waits.",
        "x = 'nobody answers'",
        "# The client who waits.",
        'x = "the size; none when it is not set"',
        'x = f"""It\nsays {no}"""',
    ],
)
def test_python_is_found(source: str) -> None:
    assert len(words("a.py", source)) == 1


@pytest.mark.parametrize(
    "source",
    [
        "def foretell() -> None: ...",
        "row = result.one()",
        "one, other = pair",
        "who_am_i = look_up(known_hosts, one_time=phone)",
        "FileNotFoundError: 'no such file'",
        '"""Return whether none of the workers is ready, as it is the default."""',
        '# By hand on each host: run it as "nobody".',
        '"""Entries of users who were deactivated."""',
        "# What the worker looks like; it looks up the unknown. Take it as it is written.",
    ],
)
def test_python_is_accepted(source: str) -> None:
    assert words("a.py", source) == []


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.md", "The worker is told to stop."),
        ("a.yaml", "# Rules go by this label."),
        ("Dockerfile", "# The one that runs last."),
        ("a.sh", "# Somebody signs up."),
    ],
)
def test_prose_is_found(name: str, content: str) -> None:
    assert len(words(name, content)) == 1


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.md", "`_tell` was renamed. Who may read it? Ask in an issue, and say what you ran."),
        ("a.md", "<!-- words: off -->\n| told |\n<!-- words: on -->"),
        ("Dockerfile", "USER nobody"),
        ("a.sh", "echo 'nobody:x:65534:65534:nobody:/nonexistent:/sbin/nologin'"),
    ],
)
def test_prose_is_accepted(name: str, content: str) -> None:
    assert words(name, content) == []


def test_a_finding_has_its_line_and_an_alternative() -> None:
    (finding,) = findings("a.py", 'x = 1\n\n\ny = """a\nsays"""\n')

    assert (finding.line, finding.word) == (5, "says")
    assert finding.instead


def test_every_rule_has_an_alternative() -> None:
    assert all(rule.instead and rule.kinds for rule in RULES)


def test_the_command_names_path_and_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    (tmp_path / "good.py").write_text("is_ready = True\n")
    (tmp_path / "bad.md").write_text("Fine.\nIt tells.\n")
    monkeypatch.setattr(sys, "argv", ["words"])

    assert main(tmp_path) == 1
    assert capsys.readouterr().out.startswith("bad.md:2: tells -> ")
    monkeypatch.setattr(sys, "argv", ["words", "good.py"])
    assert main(tmp_path) == 0
