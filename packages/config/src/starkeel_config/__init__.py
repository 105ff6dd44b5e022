"""Settings from the environment, all problems reported at once."""

from ._errors import ConfigurationError, DeclarationError, Problem
from ._load import Entry, Resolved, load, resolve
from ._reference import Documented, Reference, Section, reference
from ._render import render_env_example, render_markdown
from ._secret import Secret
from ._settings import Environment, ServiceSettings, Settings, Variable, prefixed

__all__ = [
    "ConfigurationError",
    "DeclarationError",
    "Documented",
    "Entry",
    "Environment",
    "Problem",
    "Reference",
    "Resolved",
    "Secret",
    "Section",
    "ServiceSettings",
    "Settings",
    "Variable",
    "load",
    "prefixed",
    "reference",
    "render_env_example",
    "render_markdown",
    "resolve",
]
