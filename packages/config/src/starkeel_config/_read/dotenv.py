"""Parser of a developer's `.env` file.

One `NAME=VALUE` per line with an optional leading `export`; `#` starts a comment. A value is bare (up to the
end of the line or ` #`), in single quotes (literal) or in double quotes (with the escapes backslash n, r, t,
quote, dollar and backslash). Quoted values may span several lines. Nothing is substituted: `$` is literal.
"""

import re

from .._errors import Problem

_ACCEPTED = "NAME=VALUE, NAME='VALUE', NAME=\"VALUE\" or a comment"
_BLANK = re.compile(r"[ \t]*(?:#[^\n]*)?(?:\n|\Z)")
_KEY = re.compile(r"[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)[ \t]*=")
_SINGLE = re.compile(r"[ \t]*'([^']*)'")
_DOUBLE = re.compile(r'[ \t]*"((?:[^"\\]|\\.)*)"', re.DOTALL)
_BARE = re.compile(r"(?![ \t]*['\"])((?:(?![ \t]#)[^\n])*)")
_ESCAPE = re.compile(r"\\([nrt\"'$\\])")
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t"}


def parse(text: str, name: str) -> tuple[dict[str, str], list[Problem]]:
    """Return the variables of a `.env` file and the problems of its lines.

    Args:
        text: Content of the file; problems never contain any of it but names.
        name: Name of the file, for problems.
    """
    return _Parser(text.replace("\r\n", "\n"), name).parse()


class _Parser:
    def __init__(self, text: str, name: str) -> None:
        self._text = text
        self._name = name
        self._position = 0
        self._values: dict[str, str] = {}
        self._lines: dict[str, int] = {}
        self._problems: list[Problem] = []

    def parse(self) -> tuple[dict[str, str], list[Problem]]:
        while self._position < len(self._text):
            if not self._consume(_BLANK):
                self._assignment()
        return self._values, self._problems

    def _consume(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        match = pattern.match(self._text, self._position)
        if match is not None:
            self._position = match.end()
        return match

    def _assignment(self) -> None:
        line = self._text.count("\n", 0, self._position) + 1
        key = self._consume(_KEY)
        if key is None:
            self._skip_line(line, "is not an assignment")
            return
        value = self._value()
        if value is None:
            self._skip_line(line, f"gives {key[1]} a value with an unclosed quote")
        elif not self._consume(_BLANK):
            self._skip_line(line, f"gives {key[1]} a value followed by text after its closing quote")
        else:
            self._store(key[1], value, line)

    def _value(self) -> str | None:
        if single := self._consume(_SINGLE):
            return single[1]
        if double := self._consume(_DOUBLE):
            return _ESCAPE.sub(lambda escape: _ESCAPED.get(escape[1], escape[1]), double[1])
        bare = self._consume(_BARE)
        return bare and bare[1].strip()

    def _store(self, key: str, value: str, line: int) -> None:
        if key in self._values:
            wrong = f"assigns {key} again, after line {self._lines[key]}"
            self._problems.append(Problem(f"{self._name} line {line}", wrong, "each name once"))
        self._values[key] = value
        self._lines[key] = line

    def _skip_line(self, line: int, wrong: str) -> None:
        self._problems.append(Problem(f"{self._name} line {line}", wrong, _ACCEPTED))
        end = self._text.find("\n", self._position)
        self._position = len(self._text) if end < 0 else end + 1
