"""Check that names, comments, messages and documentation use plain technical words.

python -m tools.checks.words             check the whole repository
python -m tools.checks.words docs tools  check the files below these paths

Each finding is a line `path:line: word -> what to write instead`. Markdown that quotes the words is
enclosed in `<!-- words: off -->` and `<!-- words: on -->`.
"""

import argparse
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from ..registry import ROOT

Kind = Literal["name", "text", "prose"]
"""Identifiers in Python; comments and strings in Python; everything in other files."""


class Rule(NamedTuple):
    """Words that are not used.

    Attributes:
        pattern: Regular expression for lower-case text, without the word boundaries around it.
        instead: What to write.
        kinds: Where the rule applies.
    """

    pattern: str
    instead: str
    kinds: tuple[Kind, ...] = ("text", "prose")


_EVERYWHERE: tuple[Kind, ...] = ("name", "text", "prose")
_PYTHON: tuple[Kind, ...] = ("name", "text")

RULES = (
    Rule("tells?|telling|told", "log, set, send, return, report or distinguish", _EVERYWHERE),
    Rule("whoever|whomever|whom", "name it: the caller, the client, the worker", _EVERYWHERE),
    # The Unix account is alone in quotes, or follows USER in a Dockerfile or precedes a colon in passwd.
    Rule(r"(?<!user )nobody(?!(?<=[`\"']nobody)[`\"']|[:@])", "name it: no client, no worker", _EVERYWHERE),
    Rule("(?:some|every|any)body(?!@)", "name it: a client, every user", _EVERYWHERE),
    # A person is not a thing.
    Rule(
        r"(?<!user )(?<!users )(?<!customer )(?<!customers )(?<!person )(?<!people )who(?![-_]?am[-_]?i)",
        "which, that, or the name of the thing",
        _PYTHON,
    ),
    Rule("asked|asks|asking", "requested, called, queried", _EVERYWHERE),
    Rule("ask", "request, call, query", _PYTHON),
    Rule("said|says|saying", "reports, logs, states, returns", _EVERYWHERE),
    Rule("say(?! [\"'])", "report, log, state, return", _PYTHON),
    Rule("knows", "has, stores, supports"),
    Rule("wants|wanted", "requires, expects; expected", _EVERYWHERE),
    Rule("sees", "reads, receives, detects"),
    Rule("looks(?! up| like| for| wrong)", "reads, checks, searches"),
    Rule("look(?![ _-]?up)", "read, check, list", _PYTHON),
    Rule("hear(?:s|d)", "receives, is notified"),
    # `stands_at` is a field of an admin endpoint.
    Rule("stands(?! for| alone| out|[ _]at)|stood", "is, is stored"),
    Rule("(?<!by )hand(?:s|ed|ing)? (?:on|out)", "pass, forward, return"),
    Rule("(?:takes?|took|taking) leave", "close, disconnect"),
    Rule("(?:go|goes|going|went) by", "use, follow"),
    Rule("makes? of|comes? of", "is the result of"),
    Rule("gives? way", "yield, be rolled back, be replaced"),
    Rule("lets? go", "release, drop"),
    Rule("heed(?:s|ed|ing)?", "honour, respect"),
    Rule("mend(?:s|ed|ing)?", "fix, repair"),
    Rule("answer(?:s|ed)? alike", "return the same response"),
    Rule("be had", "be available, be obtained"),
    Rule("be it", "whether"),
    Rule("in need of", "needing"),
    Rule("in vain", "without success, until the timeout"),
    Rule("oftener|seldomer", "more often, less often"),
    Rule("to the letter", "strictly"),
    Rule("what it is that|(?:that|what) there (?:is|are|was|were)", "the noun itself"),
    Rule("as it is(?=[.,;:)]|$)", "unchanged"),
    Rule("at most so (?:long|many|much)|so (?:many|often)(?! that)", "the number, or at most N"),
    Rule("anew|wholly", "again; fully"),
    Rule("no such (?!file|table|column|process|device|host)", "no, not found"),
    Rule("(?:first|last|next|other|the|a|an) one (?:that|which|who|of)", "the noun itself"),
    Rule("(?:for|lambda|as) one(?!_)", "the noun itself", ("name",)),
    Rule('"""(?:what|who|whose|how|where)', "a noun phrase, or `Return ...`", ("text",)),
    Rule(r"(?<=[;:,(] )none(?= (?:when|where|while|without|outside|for|if)\b|[:.;)])", "None", ("text",)),
    Rule("ours|theirs", "Starkeel's, or the noun itself"),
    Rule("crew", "worker pool", _EVERYWHERE),
    Rule("recruits?", "spare process", _EVERYWHERE),
    Rule("staff(?:ed|ing)|heirs?", "worker pool, replacement worker", _EVERYWHERE),
    Rule("turnover", "rolling restart", _EVERYWHERE),
    Rule("janitor", "reaper", _EVERYWHERE),
    Rule("upkeep|chores?", "maintenance, commands", _EVERYWHERE),
)

# They quote the words.
_EXCLUDED = {"tools/checks/words.py", "tests/workspace/test_words.py"}
_PYTHON_SUFFIXES = (".py", ".py.txt", ".py.mako")
_PROSE_SUFFIXES = (
    ".md", ".yaml", ".yml", ".toml", ".sh", ".cfg", ".html", ".css", ".js", ".cjs", ".mjs", ".lua",
    ".example",
)  # fmt: skip
_PROSE_NAMES = ("justfile", "Dockerfile", "run", "images")
_TEXT = re.compile(r'"""(?:\\.|[^\\])*?"""|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|#[^\n]*', re.DOTALL)
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_QUOTED = re.compile(r"`[^`\n]*`|<!-- words: off -->.*?<!-- words: on -->", re.DOTALL)
_NOT_A_NEWLINE = re.compile(r"[^\n]")


class Finding(NamedTuple):
    """A word that is not used, and where."""

    line: int
    word: str
    instead: str


def findings(name: str, content: str) -> list[Finding]:
    """Return the findings in a file, by line.

    Args:
        name: Its path, which decides what is checked.
        content: Its text.
    """
    if name.endswith(_PYTHON_SUFFIXES):
        text, code = _split(content)
        return sorted([*_found("text", text), *_found("name", _CAMEL.sub("_", code))])
    return sorted(_found("prose", _QUOTED.sub(_blank, content) if name.endswith(".md") else content))


def main(root: Path = ROOT) -> int:
    """Print the findings; return 1 if there are any."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("paths", nargs="*", help="files or folders (default: the repository)")
    is_clean = True
    for name in _files(root, parser.parse_args().paths):
        for line, word, instead in findings(name, (root / name).read_text("utf-8")):
            sys.stdout.write(f"{name}:{line}: {word} -> {instead}\n")
            is_clean = False
    return 0 if is_clean else 1


def _files(root: Path, paths: Iterable[str]) -> list[str]:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *paths]
    listed = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout.splitlines()
    return [
        name
        for name in listed
        if name not in _EXCLUDED
        and (name.endswith(_PYTHON_SUFFIXES + _PROSE_SUFFIXES) or Path(name).name in _PROSE_NAMES)
        and (root / name).is_file()
    ]


def _compiled(*patterns: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![a-z])(?:{'|'.join(patterns)})(?![a-z])", re.MULTILINE)


_KINDS: dict[Kind, re.Pattern[str]] = {
    kind: _compiled(*(rule.pattern for rule in RULES if kind in rule.kinds)) for kind in get_args(Kind)
}
_RULES = [(_compiled(rule.pattern), rule) for rule in RULES]


def _found(kind: Kind, text: str) -> Iterator[Finding]:
    lowered = text.lower()
    for match in _KINDS[kind].finditer(lowered):
        word = text[match.start() : match.end()]
        if word == "None":
            continue
        instead = next(
            rule.instead
            for pattern, rule in _RULES
            if kind in rule.kinds and pattern.match(lowered, match.start())
        )
        yield Finding(text.count("\n", 0, match.start()) + 1, word, instead)


def _split(source: str) -> tuple[str, str]:
    """Return a Python file's comments and strings, and its code, each with the other blanked out."""
    text, code, end = [], [], 0
    for match in _TEXT.finditer(source):
        between = source[end : match.start()]
        text += [_NOT_A_NEWLINE.sub(" ", between), match[0]]
        code += [between, _NOT_A_NEWLINE.sub(" ", match[0])]
        end = match.end()
    return "".join(text), "".join([*code, source[end:]])


def _blank(match: re.Match[str]) -> str:
    return _NOT_A_NEWLINE.sub(" ", match[0])


if __name__ == "__main__":
    sys.exit(main())
