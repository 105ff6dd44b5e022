"""The `.env` file of a developer.

One `NAME=VALUE` a line, an `export` in front allowed, `#` for comments. A value is bare (to the end of the
line or to a ` #`), in single quotes (taken as it is) or in double quotes (where a backslash stands before n,
r, t, a quote, a dollar or another backslash). A quoted value may go over several lines. Nothing is
substituted: `$` is a dollar.
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
    """The variables of a `.env` file, and what is wrong with its lines.

    Args:
        text: Content of the file.
        name: What to call it in problems; they never show its content.
    """
    return _Scanner(text.replace("\r\n", "\n"), name).scan()


class _Scanner:
    def __init__(self, text: str, name: str) -> None:
        self._text = text
        self._name = name
        self._at = 0
        self._values: dict[str, str] = {}
        self._lines: dict[str, int] = {}
        self._problems: list[Problem] = []

    def scan(self) -> tuple[dict[str, str], list[Problem]]:
        while self._at < len(self._text):
            blank = _BLANK.match(self._text, self._at)
            if blank is None:
                self._assignment()
            else:
                self._at = blank.end()
        return self._values, self._problems

    def _assignment(self) -> None:
        line = self._text.count("\n", 0, self._at) + 1
        key = _KEY.match(self._text, self._at)
        if key is None:
            self._refuse(line, "is no assignment")
            return
        self._at = key.end()
        value = self._value()
        if value is None:
            self._refuse(line, f"gives {key[1]} a value with a quote that is not closed")
            return
        rest = _BLANK.match(self._text, self._at)
        if rest is None:
            self._refuse(line, f"gives {key[1]} a value with something after its closing quote")
            return
        self._at = rest.end()
        self._keep(key[1], value, line)

    def _value(self) -> str | None:
        for pattern in (_SINGLE, _DOUBLE, _BARE):
            found = pattern.match(self._text, self._at)
            if found is not None:
                self._at = found.end()
                if pattern is _DOUBLE:
                    return _ESCAPE.sub(lambda escape: _ESCAPED.get(escape[1], escape[1]), found[1])
                return found[1].strip() if pattern is _BARE else found[1]
        return None

    def _keep(self, key: str, value: str, line: int) -> None:
        if key in self._values:
            wrong = f"gives {key} again, which line {self._lines[key]} gave"
            self._problems.append(Problem(f"{self._name} line {line}", wrong, "each name once"))
        self._values[key] = value
        self._lines[key] = line

    def _refuse(self, line: int, wrong: str) -> None:
        self._problems.append(Problem(f"{self._name} line {line}", wrong, _ACCEPTED))
        end = self._text.find("\n", self._at)
        self._at = len(self._text) if end < 0 else end + 1
