"""Exceptions of this package, and the description of a single configuration problem."""

from collections.abc import Sequence

import msgspec


class Problem(msgspec.Struct, frozen=True):
    """One error in a configuration, worded for the operator that corrects it.

    Args:
        variable: The environment variable to correct, or a position in a file (`.env line 3`).
        wrong: Predicate that follows the name: ``is 'abc'``. Never contains a secret.
        accepted: Accepted values: `a whole number from 1 to 65535`. Empty when `wrong` is sufficient.
    """

    variable: str
    wrong: str
    accepted: str = ""

    def __str__(self) -> str:
        text = f"{self.variable} {self.wrong}"
        return f"{text}; accepted: {self.accepted}" if self.accepted else text


class ConfigurationError(Exception):
    """The environment is not a valid configuration; the message lists every problem, one per line.

    Attributes:
        exit_code: Exit status for the process: 78, `EX_CONFIG` of sysexits.h.
        warnings: As `Resolved.warnings`; often the cause of a problem.
    """

    exit_code = 78

    def __init__(self, service: str, problems: Sequence[Problem], warnings: Sequence[str] = ()) -> None:
        self.service = service
        self.problems = tuple(problems)
        self.warnings = tuple(warnings)
        count = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        lines = [f"the configuration of {service} has {count}"]
        lines += [f"  {problem}" for problem in self.problems]
        lines += [f"  ({warning})" for warning in self.warnings]
        super().__init__("\n".join(lines))


class DeclarationError(TypeError):
    """A settings class is declared incorrectly; a programming error, independent of the environment."""
