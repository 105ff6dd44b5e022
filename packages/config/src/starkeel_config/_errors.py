"""What is raised when a configuration, or its declaration, is wrong."""

from collections.abc import Sequence

import msgspec


class Problem(msgspec.Struct, frozen=True):
    """One thing wrong with a configuration, told to whoever has to correct it.

    Args:
        variable: The environment variable to correct, or the place (`.env line 3`).
        wrong: What is wrong, a phrase that follows the name: ``is 'abc'``. Never a secret.
        accepted: What would be accepted: `a whole number from 1 to 65535`. Empty when `wrong` says it all.
    """

    variable: str
    wrong: str
    accepted: str = ""

    def __str__(self) -> str:
        told = f"{self.variable} {self.wrong}"
        return f"{told}; accepted: {self.accepted}" if self.accepted else told


class ConfigurationError(Exception):
    """The environment does not make a configuration; its text tells every problem, one on a line.

    Attributes:
        exit_code: What the process exits with: 78, `EX_CONFIG` of sysexits.h.
        service: The service it was for.
        problems: Everything that is wrong.
        warnings: What is suspicious besides, as `Resolved.warnings`; often the cause of a problem.
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
    """A settings class is written wrongly: a mistake of its author, never of the environment."""
