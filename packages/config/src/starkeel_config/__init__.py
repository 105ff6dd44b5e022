"""Settings from environment variables, with all problems reported together."""

from ._declare.settings import Environment, ServiceSettings, Settings, Variable, prefixed
from ._docs.reference import Documented, Reference, Section, reference
from ._docs.render import render_env_example, render_markdown
from ._errors import ConfigurationError, DeclarationError, Problem
from ._read.load import Entry, Resolved, load, resolve
from ._show.secret import Secret

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
